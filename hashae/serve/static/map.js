// The map: points on a canvas; the wheel zooms, dragging moves, a click searches.
"use strict";

(() => {
  const canvas = document.getElementById("map"), pen = canvas.getContext("2d"), hover = document.getElementById("hover");
  let ids, xs, ys, count = 0, zoom = 1, left = 0, top = 0, drag = null, wanted = false, buckets = null, paper = null;
  const GRID = 256;  // cells along each side, to find the point under the pointer

  async function load() {
    const answer = await fetch(`${base}/api/v1/map`);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const data = new DataView(await answer.arrayBuffer());
    count = data.byteLength / 8;
    ids = new Uint32Array(count); xs = new Float32Array(count); ys = new Float32Array(count);
    buckets = new Map();
    for (let i = 0; i < count; i++) {
      ids[i] = data.getUint32(8 * i, true);
      xs[i] = data.getUint16(8 * i + 4, true) / 65535;
      ys[i] = data.getUint16(8 * i + 6, true) / 65535;
      const cell = Math.min(GRID - 1, Math.floor(xs[i] * GRID)) * GRID + Math.min(GRID - 1, Math.floor(ys[i] * GRID));
      if (!buckets.has(cell)) buckets.set(cell, []);
      buckets.get(cell).push(i);
    }
    document.getElementById("map-text").textContent = `${many(count, "picture")}. Wheel or + and − zoom, drag or arrow keys move, a click searches for that picture.`;
    draw();
  }

  function side() { return { width: canvas.clientWidth, height: canvas.clientHeight }; }
  function toScreen(i) { const { width, height } = side(); return [(xs[i] - left) * zoom * (width - 24) + 12, (ys[i] - top) * zoom * (height - 24) + 12]; }

  function draw() {
    if (wanted) return;
    wanted = true;
    requestAnimationFrame(() => {
      wanted = false;
      const { width, height } = side(), ratio = devicePixelRatio || 1;
      if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
      // Written as pixels: a hundred thousand rectangles a frame would be too slow to move smoothly.
      if (!paper || paper.width !== canvas.width || paper.height !== canvas.height) paper = pen.createImageData(canvas.width, canvas.height);
      const pixels = new Uint32Array(paper.data.buffer), wide = paper.width, high = paper.height;
      const [red, green, blue] = getComputedStyle(canvas).color.match(/\d+/g).map(Number);
      const colour = (blue << 16) | (green << 8) | red;  // the bytes of a pixel, the last one first
      const one = Math.round(255 * (count > 20000 && zoom < 4 ? 0.35 : 0.75));
      const dot = Math.max(1, Math.round(ratio * Math.min(7, (count > 20000 ? 1.6 : 4) * Math.sqrt(zoom))));
      const across = zoom * (width - 24) * ratio, down = zoom * (height - 24) * ratio, edge = 12 * ratio - dot / 2;
      pixels.fill(0);
      for (let i = 0; i < count; i++) {
        const x = Math.round((xs[i] - left) * across + edge), y = Math.round((ys[i] - top) * down + edge);
        if (x < 0 || y < 0 || x + dot > wide || y + dot > high) continue;
        for (let row = y; row < y + dot; row++) for (let at = row * wide + x; at < row * wide + x + dot; at++) {
          pixels[at] = (Math.min(255, (pixels[at] >>> 24) + one) << 24) | colour;  // points on top of each other are darker
        }
      }
      pen.putImageData(paper, 0, 0);
    });
  }

  function nearest(x, y) {
    const { width, height } = side();
    const u = (x - 12) / (width - 24) / zoom + left, v = (y - 12) / (height - 24) / zoom + top;
    const reach = Math.max(1, Math.ceil(10 / Math.min(width, height) / zoom * GRID));
    const a = Math.floor(u * GRID), b = Math.floor(v * GRID);
    let best = -1, least = 100;
    for (let i = a - reach; i <= a + reach; i++) for (let j = b - reach; j <= b + reach; j++) {
      for (const place of buckets.get(i * GRID + j) || []) {
        const [px, py] = toScreen(place), far = (px - x) ** 2 + (py - y) ** 2;
        if (far < least) { least = far; best = place; }
      }
    }
    return best;
  }

  function clamp() {
    left = Math.min(Math.max(left, 0), 1 - 1 / zoom);
    top = Math.min(Math.max(top, 0), 1 - 1 / zoom);
    draw();
  }
  function zoomAt(factor, x, y) {
    const { width, height } = side(), before = zoom;
    zoom = Math.min(400, Math.max(1, zoom * factor));
    const u = (x - 12) / (width - 24), v = (y - 12) / (height - 24);
    left += u / before - u / zoom; top += v / before - v / zoom;
    clamp();
  }

  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomAt(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX, event.offsetY); }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => { drag = { x: event.offsetX, y: event.offsetY, moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    const { width, height } = side();
    if (drag) {
      if (Math.abs(event.offsetX - drag.x) + Math.abs(event.offsetY - drag.y) > 3) drag.moved = true;
      if (drag.moved) { left -= (event.offsetX - drag.x) / width / zoom; top -= (event.offsetY - drag.y) / height / zoom; drag.x = event.offsetX; drag.y = event.offsetY; clamp(); }
      return;
    }
    const found = count ? nearest(event.offsetX, event.offsetY) : -1;
    canvas.style.cursor = found < 0 ? "grab" : "pointer";
    hover.hidden = found < 0;
    if (found >= 0) {
      hover.href = `${base}/?image=${ids[found]}`;
      hover.querySelector("img").src = `${base}/api/v1/images/${ids[found]}/thumbnail?side=192`;
      hover.style.left = `${Math.min(event.offsetX + 14, width - 150)}px`;
      hover.style.top = `${Math.min(event.offsetY + 14, height - 150)}px`;
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const clicked = drag && !drag.moved;
    drag = null;
    const found = clicked && count ? nearest(event.offsetX, event.offsetY) : -1;
    if (found >= 0) location.href = `${base}/?image=${ids[found]}`;
  });
  canvas.addEventListener("pointerleave", () => { hover.hidden = true; });
  function middle(factor) { const { width, height } = side(); zoomAt(factor, width / 2, height / 2); }
  canvas.addEventListener("keydown", (event) => {
    const step = 0.1 / zoom;
    if (event.key === "+" || event.key === "=") middle(1.4);
    else if (event.key === "-") middle(1 / 1.4);
    else if (event.key === "ArrowLeft") { left -= step; clamp(); }
    else if (event.key === "ArrowRight") { left += step; clamp(); }
    else if (event.key === "ArrowUp") { top -= step; clamp(); }
    else if (event.key === "ArrowDown") { top += step; clamp(); }
    else return;
    event.preventDefault();
  });
  document.getElementById("in").addEventListener("click", () => middle(1.6));
  document.getElementById("out").addEventListener("click", () => middle(1 / 1.6));
  document.getElementById("all").addEventListener("click", () => { zoom = 1; left = top = 0; draw(); });
  addEventListener("resize", draw);
  load().catch((error) => { document.getElementById("map-text").textContent = error.message; toast(error.message, true); });
})();
