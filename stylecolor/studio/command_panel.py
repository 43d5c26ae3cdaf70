"""The command line that makes the same file as the page."""

import gradio as gr


def build(prefix: str = "") -> gr.Textbox:
    """Put it here, folded up.

    Args:
        prefix: of the elements' ids, which tells tabs apart.
    """
    with gr.Accordion("Command line", open=False, elem_id=f"{prefix}command-panel"):
        return gr.Textbox(
            label="Command", info="It makes the same file.", lines=2, max_lines=6, buttons=["copy"], elem_id=f"{prefix}command"
        )
