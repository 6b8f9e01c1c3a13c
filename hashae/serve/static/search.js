// Search by picture: drop, paste, choose or click; answers follow the slider.
"use strict";

(() => {
  const ask = document.getElementById("ask");
  if (!ask) return;
  const at = (id) => document.getElementById(id);
  const bits = Number(ask.dataset.bits);
  const answers = at("answers"), how = at("how"), title = at("answers-title"), drop = at("drop");
  // What is asked about: a file (until its code is known), a code, or an image of the collection.
  let asked = null, running = null, timer = 0, curve = null, address = null;

  const mode = () => document.querySelector('input[name="mode"]:checked').value;

  function query() {
    if (mode() === "exact") return "exact=true";
    if (mode() === "matches") return "matches=true";
    // An image of the collection is its own nearest; it is not shown.
    return mode() === "radius" ? `radius=${at("radius").value}` : `k=${Number(at("k").value) + (asked.id ? 1 : 0)}`;
  }

  function promise() {
    const radius = Number(at("radius").value), note = at("promise");
    at("radius-out").textContent = `${radius} of ${bits} bits`;
    at("k-out").textContent = at("k").value;
    const row = curve && curve.find((one) => one.threshold === radius);
    if (row) {
      note.textContent = `At this radius at least ${percent(row.at_least)} of the pairs found in the whole collection are right, and ${percent(row.recall)} of edited copies are found.`;
      return;
    }
    if (!note.dataset.radius) {
      note.textContent = "No precision is promised yet: measure it on the page Collection.";
      return;
    }
    const limit = Number(note.dataset.radius), kept = note.dataset.kept === "1";
    if (kept && radius <= limit) note.textContent = `Promised: at least ${percent(Number(note.dataset.precision))} of the pairs found are right, up to a radius of ${limit}.`;
    else if (kept) note.textContent = `Beyond the promise: ${percent(Number(note.dataset.precision))} holds up to a radius of ${limit}. The page Collection measures what holds here.`;
    else note.textContent = "No radius keeps the promised precision in this collection; look at what is found.";
  }

  function percent(share) {
    if (share > 0.99 && share < 1) return `${(Math.floor(share * 1e5) / 1e3).toFixed(3).replace(/0+$/, "").replace(/\.$/, "")} %`;
    return `${(share * 100).toFixed(share < 0.1 ? 2 : 1)} %`;
  }

  function show(picture, note) {
    if (address) { URL.revokeObjectURL(address); address = null; }
    if (picture instanceof Blob) picture = address = URL.createObjectURL(picture);
    at("asked-picture").src = picture;
    at("asked").hidden = false;
    drop.classList.add("has-picture");
    at("drop-title").textContent = note;
    at("drop-note").textContent = "Drop, paste or choose another one, or click a picture below.";
  }

  function askFile(file) {
    if (!file) return;
    if (!file.type.startsWith("image/") && file.type !== "") { toast("That is no picture.", true); return; }
    asked = { file };
    show(file, file.name ? shown(file.name) : "Pasted picture");
    history.replaceState(null, "", `${base}/`);
    go();
  }

  function askImage(id, name, push = true) {
    asked = { id };
    show(`${base}/api/v1/images/${id}/thumbnail?side=384`, baseName(name));
    if (push) history.pushState({ id, name }, "", `${base}/?image=${id}`);
    scrollTo({ top: 0, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    go();
  }

  async function go() {
    promise();
    if (!asked) return;
    if (running) running.abort();
    const mine = running = new AbortController();
    const began = performance.now();
    answers.setAttribute("aria-busy", "true");
    try {
      let found;
      if (asked.code) found = await call(`/api/v1/codes/${asked.code}/matches?${query()}`, { signal: mine.signal });
      else if (asked.id) found = await call(`/api/v1/images/${asked.id}/matches?${query()}`, { signal: mine.signal });
      else {
        const body = new FormData();
        body.append("image", asked.file);
        found = await call(`/api/v1/query?${query()}`, { method: "POST", body, signal: mine.signal });
        asked.code = found.code;  // sliding on needs the code only
        asked.plain = found.featureless;
      }
      if (mine !== running) return;
      list(found, performance.now() - began);
    } catch (error) {
      if (error.name === "AbortError") return;
      answers.replaceChildren();
      title.textContent = "No answer";
      how.textContent = error.message;
      toast(error.message, true);
    } finally {
      if (mine === running) answers.removeAttribute("aria-busy");
    }
  }

  function list(found, milliseconds) {
    const shownMatches = found.matches.filter((match) => match.id !== asked.id);
    const count = found.total - (found.matches.length - shownMatches.length);
    title.textContent = count === 0 ? "Nothing found" : mode() === "k" ? many(count, "most similar picture") : many(count, "picture") + " found";
    const path = found.explanation;
    const parts = [`${milliseconds.toFixed(0)} ms in all`];
    if (found.encode_ms) parts.push(`${found.encode_ms.toFixed(1)} ms to decode and encode`);
    if (path) parts.push(`${(path.seconds * 1000).toFixed(2)} ms to search by ${path.method}, ${many(path.candidates, "code")} read`);
    if (found.rule) parts.push(found.rule);
    if (found.featureless || asked.plain) parts.push("next to nothing is to be seen in this picture, so its code means little");
    how.textContent = parts.join(" · ");
    how.title = path ? path.why : "";
    answers.replaceChildren(...shownMatches.map(tile));
    if (found.total > found.matches.length) how.textContent += ` · the first ${found.matches.length.toLocaleString("en")} are shown`;
  }

  function tile(match) {
    const label = match.distance === 0 ? "same code" : many(match.distance, "bit");
    const promised = match.allowed === null ? "" : ` of ${match.allowed.toFixed(1)} allowed`;
    return make("li", {},
      make("button", { type: "button", class: "tile", "data-id": match.id, "data-name": match.path, title: match.shown },
        make("img", { loading: "lazy", src: thumb(match, 192), alt: "" }),
        make("span", { class: "tile-name" }, make("bdi", { text: match.name })),
        make("span", { class: "badge", text: label + promised })),
      make("p", { class: "tile-facts soft small", text: `${match.width} × ${match.height} · ${bytes(match.size)}` }),
      asked.id ? make("a", { class: "small", href: `${base}/why?a=${asked.id}&b=${match.id}`, text: "Why?" , "aria-label": `Why does ${match.name} match?` }) : null);
  }

  answers.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-id]");
    if (button) askImage(Number(button.dataset.id), button.dataset.name);
  });
  at("file").addEventListener("change", (event) => { askFile(event.target.files[0]); event.target.value = ""; });
  document.addEventListener("paste", (event) => {
    const item = [...event.clipboardData.items].find((one) => one.type.startsWith("image/"));
    if (item) askFile(item.getAsFile());
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    askFile(event.dataTransfer.files[0]);
  });
  for (const input of document.querySelectorAll('input[name="mode"]')) {
    input.addEventListener("change", () => {
      at("radius-setting").hidden = mode() !== "radius";
      at("k-setting").hidden = mode() !== "k";
      go();
    });
  }
  for (const name of ["k", "radius"]) {
    at(name).addEventListener("input", () => { promise(); clearTimeout(timer); timer = setTimeout(go, 40); });
  }
  addEventListener("popstate", (event) => { if (event.state) askImage(event.state.id, event.state.name, false); else location.reload(); });

  call("/api/v1/calibration").then((found) => { curve = found.curve; promise(); }).catch(() => promise());
  promise();
  if (ask.dataset.image) askImage(Number(ask.dataset.image), ask.dataset.name, false);
})();
