"""What Gradio's galleries lack for those who do not see the pictures, or use no mouse."""


def mend_thumbnails(elem_id: str) -> str:
    """A script that mends a gallery now and whenever it is drawn anew.

    Thumbnails, which Gradio numbers, are called what their pictures are called. Of the two buttons for further files, one inside the other,
    the outer one does what the inner one does, and Tab leads to it alone.
    """
    return f"""() => {{
      const gallery = document.querySelector("#{elem_id}");
      if (!gallery || gallery.dataset.mended) return;
      gallery.dataset.mended = true;
      const mend = () => {{
        for (const button of gallery.querySelectorAll("button.thumbnail-item")) {{
          const name = button.querySelector("img")?.alt;
          if (name && button.ariaLabel !== name) button.ariaLabel = button.title = name;
        }}
        for (const inner of gallery.querySelectorAll("button button[tabindex='0']")) {{
          const outer = inner.parentElement.closest("button");
          inner.tabIndex = -1;
          inner.ariaHidden = true;
          outer.addEventListener("click", (event) => {{ if (event.target === outer) inner.click(); }});
        }}
      }};
      mend();
      const attributeFilter = ["alt", "aria-label"];
      new MutationObserver(mend).observe(gallery, {{subtree: true, childList: true, attributes: true, attributeFilter}});
    }}"""
