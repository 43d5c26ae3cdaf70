"""How the page looks: Gradio's own theme in quiet colours and the visitor's own fonts, and the little styling on top of it."""

import gradio as gr

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.zinc,
    spacing_size=gr.themes.sizes.spacing_sm,
    radius_size=gr.themes.sizes.radius_md,
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(
    # Gradio's own greys are too faint to be read by everybody
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_300",
    block_title_text_color="*neutral_800",
    block_title_text_color_dark="*neutral_200",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_border_color="*primary_600",
    button_primary_border_color_hover="*primary_700",
    # its own red is too light for white letters
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    checkbox_border_color_dark="*neutral_400",
    slider_color="*primary_600",
    slider_color_dark="*primary_500",
)
"""Names no font that would have to be fetched."""

CSS = """
button[role="tab"].selected { color: var(--primary-600) !important; }
.dark button[role="tab"].selected { color: var(--primary-300) !important; }
.gradio-container > .main { max-width: 1440px !important; width: 100% !important; margin: 0 auto;
  padding: 12px clamp(12px, 2.5vw, 24px) 24px !important; }
#heading .prose, #heading > div { display: flex; align-items: baseline; gap: 0 0.75rem; flex-wrap: wrap; }
#heading h1 { font-size: 1.15rem; font-weight: 600; margin: 0; }
#heading p { margin: 0; color: var(--body-text-color-subdued); }
#heading p:nth-of-type(2) { margin-left: auto; }

/* inputs, the button, result and settings: two columns on a desktop, one below the other in this order on a phone */
.workspace { display: grid !important; gap: var(--layout-gap); align-items: start;
  grid-template-columns: minmax(300px, 380px) minmax(0, 1fr); grid-template-rows: auto auto 1fr;
  grid-template-areas: "inputs result" "action result" "settings result"; }
.workspace > * { min-width: 0 !important; width: 100%; }
.workspace > .inputs { grid-area: inputs; }
.workspace > .action { grid-area: action; gap: 0.3rem; }
.workspace > .result { grid-area: result; position: sticky; top: 8px; }
.workspace > .settings { grid-area: settings; }

.pair { flex-wrap: nowrap !important; }
.pair > * { min-width: 0 !important; flex: 1 1 0 !important; }
.pair .prompt, .pair .prompt p { white-space: pre-line !important; overflow: visible !important; font-size: 0.875rem; text-align: center; }
/* a gallery takes no text of ours */
#references .prompt > * { display: none; }
#references .prompt::after { content: "Drop pictures in colour\\A or choose some"; }
#target img { object-fit: contain; }
#target-large, #result { height: min(62vh, 640px) !important; }
#result img { max-height: min(62vh, 640px) !important; }
/* below the label and the buttons, which would cover them */
.drop .image-container:has(img), #references .gallery-container { padding-top: 26px; box-sizing: border-box; }
#references .grid-wrap { position: static; height: 100% !important; padding: 0; }
#references .thumbnail-lg, #folder .thumbnail-lg { aspect-ratio: 1; }
#references .grid-container { grid-template-columns: repeat(var(--columns), minmax(0, 112px)) !important; justify-content: center;
  --columns: 3; counter-reset: reference; }
#references .grid-container:has(> :nth-child(2):last-child) { --columns: 2; }
#references .grid-container:has(> :only-child) { --columns: 1; }
/* their number, by which the fields of the weights call them */
#references .gallery-item:not(:only-child)::after { counter-increment: reference; content: counter(reference); position: absolute; right: 0;
  bottom: 0; min-width: 1.3rem; padding: 0 0.2rem; border-radius: var(--radius-sm) 0; text-align: center; font-size: 0.75rem;
  color: var(--body-text-color); background: var(--background-fill-secondary); pointer-events: none; }
#references .gallery-item:focus-within .delete-button { opacity: 1; }
@media (hover: none) { #references .delete-button { opacity: 1; } }
#references .caption-label, #folder .caption-label { display: none; }
#references .grid-container, #folder .grid-container { gap: 4px; padding: 4px; grid-template-rows: none; grid-auto-rows: auto; }
#examples .grid-container { grid-template-columns: repeat(var(--grid-cols), minmax(0, 1fr)) !important; }
#folder .grid-container { grid-template-columns: repeat(var(--columns), minmax(0, 1fr)) !important; }
/* whole rows of squares */
#folder { container-type: inline-size; }
#folder .grid-wrap { --columns: 4; --rows: 3; height: auto !important; min-height: 0 !important; padding: 0; overflow-y: auto;
  max-height: calc(var(--rows) * ((100cqw - 4px) / var(--columns)) + 4px); scrollbar-width: thin; }
@media (min-width: 560px) and (max-width: 1000px) { #folder .grid-wrap { --columns: 8; --rows: 2; } }
#folder-status:not(:has(p)) { display: none; }
#examples, #examples .grid-wrap { height: auto !important; min-height: 0 !important; border-width: 0 !important; }
#examples .grid-container { padding: 0; }
#examples .thumbnail-lg { aspect-ratio: 2; }
#examples .caption-label { left: 0; right: 0; max-width: none; white-space: normal; text-align: left; }
.buttons { align-items: center; }
.buttons > * { flex: 0 1 auto !important; width: auto !important; min-width: 0 !important; }
.buttons > .block { margin-right: auto; overflow: visible; }
.buttons button { padding: 0.35rem 0.8rem; }
.buttons .wrap { flex-wrap: nowrap; }
.html-container { padding: 0 !important; }

.status { min-height: 1.6rem; overflow-wrap: anywhere; }
.status p { margin: 0; }
.status progress { display: block; width: 100%; height: 0.35rem; margin-top: 0.25rem; appearance: none; border: none; border-radius: 1rem;
  background: var(--border-color-primary); }
.status progress::-webkit-progress-bar { background: transparent; }
.status progress::-webkit-progress-value { background: var(--primary-500); border-radius: 1rem; }
.status progress::-moz-progress-bar { background: var(--primary-500); border-radius: 1rem; }
.status .refused { color: var(--error-text-color); }
.note { color: var(--body-text-color-subdued); }
.block.banner { border: 1px solid var(--border-color-accent); border-radius: var(--radius-md); padding: var(--spacing-md) var(--spacing-lg);
  background: var(--block-background-fill); }
.banner p { margin: 0.2rem 0; }
.banner code { overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--primary-500) !important; outline-offset: 2px; }

#matching input, #size input { text-overflow: ellipsis; padding-right: 2.5rem; }

@media (max-width: 1000px) {
  .workspace { grid-template-columns: minmax(0, 1fr); grid-template-rows: none;
    grid-template-areas: "inputs" "action" "result" "settings"; }
  .workspace > .result { position: static; }
}
@media (max-width: 768px) {
  #target-large, #result, #stylize-result { height: auto !important; max-height: 60vh; }
  #examples .grid-container { --grid-cols: 1 !important; }
}
/* the button stays in sight where there is the height for it */
@media (max-width: 768px) and (min-height: 500px) {
  .workspace { padding-bottom: 84px; }
  .workspace > .action { position: fixed; left: 0; right: 0; bottom: 0; z-index: 1000; padding: 8px 12px;
    background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary); }
}
/* fingers on the picture scroll the page; those on the handle move it */
@media (hover: none) { #result .content { pointer-events: none; } }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
"""
