// Two pictures side by side, in turn, or their difference; the wheel zooms, dragging moves.
"use strict";

const Compare = (() => {
  const at = (id) => document.getElementById(id);
  let pair = null, view = "side", timer = 0, zoom = 1, shift = [0, 0], from = null;

  const picture = (image) => thumb(image, 1600);

  function open(a, b) {
    pair = [a, b];
    zoom = 1; shift = [0, 0];
    at("compare-title").textContent = `${baseName(a.path)} and ${baseName(b.path)}`;
    at("compare-why").href = `${base}/why?a=${a.id}&b=${b.id}`;
    if (!at("compare-dialog").open) at("compare-dialog").showModal();
    draw();
  }

  function draw() {
    clearInterval(timer);
    for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    const stage = at("stage"), note = at("compare-note");
    stage.className = `stage view-${view}`;
    if (view === "difference") { difference(stage, note); return; }
    stage.replaceChildren(...pair.map((image, place) => make("figure", {},
      make("div", { class: "frame" }, make("img", { src: picture(image), alt: place ? "The other picture" : "The first picture", draggable: "false" })),
      make("figcaption", {}, make("bdi", { text: shown(image.path) }), ` · ${image.width} × ${image.height} · ${bytes(image.size)}`))));
    note.textContent = view === "flicker" ? "The two pictures take turns at the same size: what moves or changes differs." : "Zoom with the wheel or + and −, drag to move; both move together.";
    if (view === "flicker") {
      const figures = stage.querySelectorAll("figure");
      figures[1].hidden = true;
      // Twice a second at most: faster flicker can harm people who are sensitive to it.
      timer = setInterval(() => { for (const figure of figures) figure.hidden = !figure.hidden; }, 700);
    }
    move();
  }

  async function load(image) {
    const element = new Image();
    element.src = picture(image);
    await element.decode();
    return element;
  }

  async function difference(stage, note) {
    stage.replaceChildren();
    note.textContent = "Loading …";
    const mine = pair;
    try {
      const [a, b] = await Promise.all(pair.map(load));
      if (mine !== pair || view !== "difference") return;
      // Both are drawn at the size of the smaller one: what it does not have, it cannot show.
      const size = a.width * a.height <= b.width * b.height ? a : b;
      const scale = Math.min(1, 1200 / Math.max(size.width, size.height));
      const width = Math.max(1, Math.round(size.width * scale)), height = Math.max(1, Math.round(size.height * scale));
      const pixels = [a, b].map((image) => {
        const canvas = make("canvas", { width, height });
        const pen = canvas.getContext("2d", { willReadFrequently: true });
        pen.imageSmoothingQuality = "high";
        pen.drawImage(image, 0, 0, width, height);
        return pen.getImageData(0, 0, width, height);
      });
      const out = new ImageData(width, height);
      let sum = 0, changed = 0;
      for (let i = 0; i < out.data.length; i += 4) {
        let most = 0;
        for (let c = 0; c < 3; c++) most = Math.max(most, Math.abs(pixels[0].data[i + c] - pixels[1].data[i + c]));
        sum += most;
        if (most > 12) changed++;
        const light = Math.min(255, most * 4);
        out.data[i] = light; out.data[i + 1] = Math.max(0, light - 90); out.data[i + 2] = Math.max(0, light - 200); out.data[i + 3] = 255;
      }
      const canvas = make("canvas", { width, height, role: "img", "aria-label": "Where the two pictures differ: the brighter, the more" });
      canvas.getContext("2d").putImageData(out, 0, 0);
      stage.replaceChildren(make("figure", {}, make("div", { class: "frame" }, canvas)));
      const count = width * height;
      note.textContent = `Black is equal, bright differs (four times enlarged). On average ${(sum / count).toFixed(1)} of 255 levels; ${(100 * changed / count).toFixed(1)} % of the pixels differ by more than 12. Both are scaled to ${width} × ${height}.`;
      move();
    } catch {
      note.textContent = "A picture could not be loaded: its file may have changed since it was indexed.";
    }
  }

  function move() {
    for (const one of at("stage").querySelectorAll("img, canvas")) one.style.transform = `translate(${shift[0]}px, ${shift[1]}px) scale(${zoom})`;
  }

  function zoomBy(factor) {
    zoom = Math.min(12, Math.max(1, zoom * factor));
    if (zoom === 1) shift = [0, 0];
    move();
  }

  function close() { clearInterval(timer); pair = null; at("compare-dialog").close(); }

  function start() {
    const dialog = at("compare-dialog"), stage = at("stage");
    for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => { view = button.dataset.view; draw(); });
    at("compare-close").addEventListener("click", close);
    dialog.addEventListener("close", () => clearInterval(timer));
    // On the document: a click on a picture takes the focus out of the dialog.
    document.addEventListener("keydown", (event) => {
      if (!dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
      const views = { s: "side", f: "flicker", x: "difference" };
      if (views[event.key]) { view = views[event.key]; draw(); }
      else if (event.key === "+" || event.key === "=") zoomBy(1.4);
      else if (event.key === "-") zoomBy(1 / 1.4);
    });
    stage.addEventListener("wheel", (event) => { event.preventDefault(); zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2); }, { passive: false });
    stage.addEventListener("pointerdown", (event) => { from = [event.clientX - shift[0], event.clientY - shift[1]]; stage.setPointerCapture(event.pointerId); });
    stage.addEventListener("pointermove", (event) => { if (from && zoom > 1) { shift = [event.clientX - from[0], event.clientY - from[1]]; move(); } });
    stage.addEventListener("pointerup", () => { from = null; });
  }

  return { start, open };
})();
