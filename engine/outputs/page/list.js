// A list of any length: only the rows in sight are elements. The keyboard moves one current row.

let lists = 0;
const HIGHEST = 15e6; // px: Firefox shows nothing beyond 17.8 million, Chromium beyond 33.5 million

const hasModifier = (event) => event.altKey || event.ctrlKey || event.metaKey; // those keys are the browser's

class List {
  // make() gives a row's element, fill(element, index) shows a row in it; choose(index) when one is chosen.
  constructor(element, { rowHeight, make, fill, choose, firstRow = 1, role = "row" }) {
    Object.assign(this, { element, rowHeight, make, fill, choose, firstRow, role, id: `list${lists++}` });
    this.scroller = element.querySelector(".scroller");
    this.space = element.querySelector(".space");
    this.rows = new Map(); // index to element
    this.spare = [];
    this.count = 0;
    this.current = -1;
    this.scroller.addEventListener("scroll", () => this.later());
    new ResizeObserver(() => this.later()).observe(this.scroller);
    element.addEventListener("keydown", (event) => this.onKey(event));
    this.space.addEventListener("click", (event) => {
      const row = event.target.closest("[data-index]");
      if (!row) return;
      this.moveTo(Number(row.dataset.index), false);
      this.choose(this.current, event);
    });
  }

  show(count, current = -1) {
    this.count = count;
    this.current = current;
    this.space.style.height = `${Math.min(HIGHEST, count * this.rowHeight())}px`;
    if (this.role === "row") this.element.setAttribute("aria-rowcount", count + this.firstRow - 1);
    for (const row of this.rows.values()) this.put(row);
    this.rows.clear();
    this.scroller.scrollTop = 0;
    this.draw();
  }

  // The px of rows that a px of scrolling passes.
  pace() {
    const full = this.count * this.rowHeight(), seen = this.scroller.clientHeight;
    return full > HIGHEST ? (full - seen) / (HIGHEST - seen) : 1;
  }

  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => this.draw());
  }

  put(row) {
    row.remove();
    this.spare.push(row);
  }

  // On paper nothing scrolls: the first rows, in order; `rows` 0 is the screen again.
  print(rows) {
    this.printed = rows;
    for (const row of this.rows.values()) this.put(row);
    this.rows.clear();
    this.draw();
  }

  draw() {
    this.waiting = 0;
    const width = this.scroller.clientWidth * window.devicePixelRatio;
    if (width !== this.width) this.redraw(); // what is on canvases would be stretched
    this.width = width;
    const height = this.rowHeight();
    const top = this.scroller.scrollTop * this.pace();
    const passed = top - this.scroller.scrollTop; // px of rows above those that the scroller has room for
    const first = this.printed ? 0 : Math.max(0, Math.floor(top / height) - 4);
    const end = Math.min(this.count, this.printed || Math.ceil((top + this.scroller.clientHeight) / height) + 4);
    for (const [index, row] of this.rows)
      if (index < first || index >= end) {
        this.put(row);
        this.rows.delete(index);
      } else row.style.top = `${index * height - passed}px`;
    for (let index = first; index < end; index++) {
      if (this.rows.has(index)) continue;
      const row = this.spare.pop() || this.make();
      row.id = `${this.id}-${index}`;
      row.dataset.index = index;
      row.style.top = `${index * height - passed}px`;
      row.setAttribute("role", this.role);
      if (this.role === "row") row.setAttribute("aria-rowindex", index + this.firstRow);
      else {
        row.setAttribute("aria-posinset", index + 1);
        row.setAttribute("aria-setsize", this.count);
      }
      this.rows.set(index, row);
      this.space.append(row); // before it is filled: canvases need their size
      this.fill(row, index);
      this.mark(index);
    }
    const current = this.rows.get(this.current);
    if (current) this.element.setAttribute("aria-activedescendant", current.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  redraw() {
    for (const [index, row] of this.rows) this.fill(row, index);
  }

  mark(index) {
    const row = this.rows.get(index);
    if (!row) return;
    row.classList.toggle("current", index === this.current);
    row.setAttribute("aria-selected", index === this.current);
  }

  moveTo(index, isSeen = true) {
    const before = this.current;
    this.current = Math.max(0, Math.min(this.count - 1, index));
    if (isSeen) {
      const place = this.current * this.rowHeight(), pace = this.pace();
      const room = this.scroller.clientHeight - this.rowHeight();
      const top = this.scroller.scrollTop * pace;
      if (place < top) this.scroller.scrollTop = place / pace;
      else if (place > top + room) this.scroller.scrollTop = (place - room) / pace;
    }
    this.draw();
    this.mark(before);
    this.mark(this.current);
  }

  onKey(event) {
    if (!this.count || hasModifier(event) || event.target.closest("button, input")) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight()) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count };
    if (event.key in steps) this.moveTo(this.current < 0 && steps[event.key] === 1 ? 0 : this.current + steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.current >= 0) this.choose(this.current, event);
    else return;
    event.preventDefault();
  }
}
