"use strict";
// what a chart says under the pointer, or by the arrow keys
for (const plot of document.querySelectorAll(".plot[data-lines]")) {
  const lines = JSON.parse(plot.dataset.lines).filter((line) => line.readings.length);
  if (!lines.length) continue;
  const places = [...new Set(lines.flatMap((line) => line.readings.map((reading) => reading[0])))].sort((a, b) => a - b);
  const cursor = document.createElement("div");
  const box = document.createElement("div");
  cursor.className = "cursor";
  box.className = "reading";
  box.setAttribute("aria-live", "polite");
  cursor.hidden = box.hidden = true;
  plot.append(cursor, box);
  let index = places.length - 1;
  const nearest = (line, x) => line.readings.reduce((best, reading) => (Math.abs(reading[0] - x) < Math.abs(best[0] - x) ? reading : best));
  const show = () => {
    const x = places[index];
    cursor.hidden = box.hidden = false;
    cursor.style.left = `${x}%`;
    box.replaceChildren(
      ...lines.map((line) => {
        const row = document.createElement("div");
        const mark = document.createElement("i");
        mark.style.background = `var(--line-${line.color})`;
        row.append(mark, (lines.length > 1 ? `${line.name}, ` : "") + nearest(line, x)[2]);
        return row;
      }),
    );
    box.style.left = x < 50 ? `calc(${x}% + 8px)` : "auto";
    box.style.right = x < 50 ? "auto" : `calc(${100 - x}% + 8px)`;
  };
  const hide = () => (cursor.hidden = box.hidden = true);
  plot.addEventListener("pointermove", (event) => {
    const frame = plot.querySelector("svg").getBoundingClientRect();
    const x = (100 * (event.clientX - frame.left)) / frame.width;
    index = places.reduce((best, place, i) => (Math.abs(place - x) < Math.abs(places[best] - x) ? i : best), 0);
    show();
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    index = Math.min(places.length - 1, Math.max(0, box.hidden ? index : index + step));
    show();
  });
}
// tables are sorted by the button in a column's head; rows without a value stay last
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// a job's row and its strand go together
for (const element of document.querySelectorAll("[data-job]")) {
  const mark = (on) => document.querySelectorAll(`[data-job="${CSS.escape(element.dataset.job)}"]`).forEach((other) => other.classList.toggle("chosen", on));
  element.addEventListener("pointerenter", () => mark(true));
  element.addEventListener("pointerleave", () => mark(false));
}
for (const command of document.querySelectorAll(".command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", () => {
    // a page that was opened from a disk may not have the clipboard
    getSelection().selectAllChildren(command.querySelector("pre"));
    document.execCommand("copy");
    button.textContent = "copied";
  });
  command.append(button);
}
