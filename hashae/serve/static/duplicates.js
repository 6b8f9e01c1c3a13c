// Going through groups of duplicates: look, decide by key, preview, apply, undo.
"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  if (!at("review")) return;
  const TIERS = { bytes: "same bytes", pixels: "same pixels", code: "same code", near: "within radius" };
  let summary = null, numbers = [], open = new Set(), index = 0, group = null, kept = [];
  const decided = [];  // groups in the order of their decisions, for undo

  // --- searching -------------------------------------------------------------------------------

  async function search(body) {
    at("progress").hidden = false;
    at("progress").removeAttribute("value");
    try {
      await post("/api/v1/duplicates", body);
    } catch (error) {
      if (!/running already/.test(error.message)) throw error;
    }
    await waitFor("duplicates", (job) => {
      at("found").textContent = progressText(job);
      if (job.total) { at("progress").max = job.total; at("progress").value = job.done; }
    });
    decided.length = 0;
  }

  async function refresh() {
    summary = (await call("/api/v1/duplicates")).summary;
    at("progress").hidden = true;
    if (!summary) return;
    const parts = [`${many(summary.groups, "group")} of duplicates among ${many(summary.images, "picture")}`];
    parts.push(`${many(summary.duplicates, "file")} could go: ${bytes(summary.bytes_to_free)}`);
    if (summary.gone.files) parts[1] += `; ${many(summary.gone.files, "file")} went, ${bytes(summary.gone.bytes)}`;
    at("found").replaceChildren(make("strong", { text: parts[0] }), ` · ${parts[1]} `, make("span", { class: "soft small block", text: summary.rule }));
    if (summary.stale) at("found").append(make("span", { class: "warn block", text: "The collection has changed since this search. Search again to see the newest." }));
    const states = summary.states, files = summary.marked.files;
    at("cart").hidden = summary.groups === 0;
    at("cart-text").textContent = files ? `${many(files, "file")} marked to go, ${bytes(summary.marked.bytes)}` : states.open ? `${many(states.open, "group")} left to look at` : "Every group is decided";
    at("preview").disabled = !files;
    at("bulk").disabled = !states.open && !states.keep;
    for (const list of [at("prefer"), at("bulk-prefer")]) {
      const chosen = list.value;
      list.replaceChildren(list.options[0], ...summary.folders.map((folder) => make("option", { value: folder, text: shown(folder) })));
      list.value = chosen;
    }
    await history();
  }

  async function list(stay) {
    const query = new URLSearchParams({ limit: 1, sort: at("sort").value, text: at("text").value });
    for (const name of ["tier", "state"]) if (at(name).value) query.append(name, at(name).value);
    const found = await call(`/api/v1/duplicates/groups?${query}`);
    numbers = found.numbers;
    open = new Set(found.open);
    at("review").hidden = !summary || summary.groups === 0;
    if (!numbers.length) { at("place").textContent = "no group"; at("group").hidden = true; return; }
    at("group").hidden = false;
    const place = stay && group ? numbers.indexOf(group.number) : -1;
    await go(place >= 0 ? place : 0);
  }

  // --- one group -------------------------------------------------------------------------------

  async function go(place) {
    index = Math.min(Math.max(place, 0), numbers.length - 1);
    show(await call(`/api/v1/duplicates/groups/${numbers[index]}`));
  }

  function show(found) {
    group = found;
    kept = group.keep.length ? [...group.keep] : group.images.filter((image) => image.keep).map((image) => image.id);
    at("place").textContent = `${index + 1} of ${numbers.length.toLocaleString("en")}`;
    at("previous").disabled = index === 0;
    at("next").disabled = index === numbers.length - 1;
    const words = { open: "", keep: " · marked", distinct: " · you said: not duplicates", ignore: " · left out", done: " · done" };
    at("group-title").textContent = `Group ${group.number}: ${many(group.images.length, "picture")}, ${TIERS[group.tier]}${words[group.state]}`;
    at("group-title").className = `tier t-${group.tier}`;
    const facts = [`${bytes(group.bytes_to_free)} to free`, group.diameter ? `at most ${many(group.diameter, "bit")} apart` : "equal codes"];
    if (group.chained) facts.push("joined through others: look closely");
    at("group-facts").textContent = facts.join(" · ");
    draw();
    table();
  }

  function draw() {
    const done = group.state === "done";
    at("members").replaceChildren(...group.images.map((image, place) => {
      const stays = kept.includes(image.id) || image.protected;
      const state = image.gone ? "In the trash" : stays ? "Stays" : "Goes";
      const picture = make("button", { type: "button", class: "big", "aria-label": `Compare ${baseName(image.path)}`, onclick: () => compareWith(place) },
        image.gone ? make("span", { class: "gone-picture", text: "in the trash" }) : make("img", { src: thumb(image, 768), alt: "" }));
      return make("li", { class: stays ? "member stays" : "member goes" }, picture,
        make("div", { class: "member-text" },
          make("button", { type: "button", class: "choice", "aria-pressed": String(stays), disabled: done || image.protected || group.state === "distinct", onclick: () => toggle(place), "aria-label": `${state}: ${baseName(image.path)}` },
            place < 9 ? make("kbd", { text: String(place + 1) }) : null, ` ${state}`),
          make("p", { class: "member-name" }, make("bdi", { text: baseName(image.path) })),
          make("p", { class: "soft small path" }, make("bdi", { text: folderOf(image.path) })),
          make("p", { class: "soft small", text: image.reason })));
    }));
    const going = group.images.filter((image) => !kept.includes(image.id) && !image.protected).length;
    at("keep-text").textContent = going === 0 ? "Keep all" : group.images.length - going === 1 ? "Keep this one" : `Keep these ${group.images.length - going}`;
    at("keep").disabled = done;
    // Copies of one file are duplicates whatever one says.
    at("distinct").disabled = done || new Set(group.images.map((image) => image.content)).size < 2;
    at("undo").disabled = !decided.length && group.state === "open";
  }

  // What tells of the match and not of the file: it is no difference between two files.
  const DESCRIBES = ["Bits from the suggestion", "Sureness of the code", "Likeness"];

  function table() {
    const rows = [
      ["Pixels", (image) => `${image.width} × ${image.height}`],
      ["Size", (image) => bytes(image.size)],
      ["Format", (image) => image.format],
      ["Modified", (image) => new Date(image.modified * 1000).toISOString().slice(0, 16).replace("T", " ")],
      ["Bits from the suggestion", (image) => (image.keep ? "–" : String(image.distance))],
      ["Sureness of the code", (image) => (image.confidence === null ? "unknown" : image.confidence.toFixed(2))],
      ["Likeness", (image) => (image.keep ? "suggested to stay" : TIERS[image.tier])],
    ];
    const head = make("tr", {}, make("td", {}), ...group.images.map((image, place) => make("th", { scope: "col" }, make("bdi", { text: `${place + 1}` }))));
    at("facts").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows.map(([name, value]) => {
      const cells = group.images.map(value);
      const differs = new Set(cells).size > 1 && !DESCRIBES.includes(name);
      return make("tr", { class: differs ? "differs" : null }, make("th", { scope: "row", text: name }), ...cells.map((text) => make("td", { text })));
    })));
  }

  function toggle(place) {
    const image = group.images[place];
    if (!image || image.protected || group.state === "done" || group.state === "distinct") return;
    if (kept.includes(image.id)) {
      if (kept.length === 1) {
        if (group.images.length !== 2) { toast("One picture has to stay."); return; }
        kept = group.images.filter((one) => one.id !== image.id).map((one) => one.id);  // of two, the other one stays
      } else kept = kept.filter((id) => id !== image.id);
    } else if (group.images.length === 2 && group.state === "open") kept = [image.id];
    else kept.push(image.id);
    draw();
    at("members").querySelectorAll(".choice")[place].focus({ preventScroll: true });
  }

  async function decide(decision) {
    if (!group || at(decision).disabled) return;
    const body = { decision };
    if (decision === "keep") body.keep = kept;
    const found = await post(`/api/v1/duplicates/groups/${group.number}`, body);
    decided.push(group.number);
    toast(decision === "keep" ? "Marked. Nothing is moved yet." : "Remembered: these are not duplicates.");
    open.delete(group.number);
    await refresh();
    const next = nextOpen();
    if (next >= 0) await go(next);
    else {
      show(found);
      toast(summary.marked.files ? "That was the last one. Preview shows what would happen." : "That was the last one.");
    }
  }

  // The next group that nobody has decided of, after this one or else from the beginning.
  function nextOpen() {
    for (let step = 1; step < numbers.length; step++) {
      const place = (index + step) % numbers.length;
      if (open.has(numbers[place])) return place;
    }
    return -1;
  }

  async function undo() {
    const number = decided.pop() ?? (group && group.state !== "open" ? group.number : null);
    if (number === null) { toast("There is nothing to take back."); return; }
    await post(`/api/v1/duplicates/groups/${number}`, { decision: "open" });
    toast(`Group ${number} is open again.`);
    open.add(number);
    await refresh();
    const place = numbers.indexOf(number);
    await go(place >= 0 ? place : index);
  }

  function compareWith(place) {
    const there = group.images.filter((image) => !image.gone);
    const first = there.find((image) => kept.includes(image.id)) || there[0];
    const picked = group.images[place];
    const second = picked && !picked.gone && picked.id !== first.id ? picked : there.find((image) => image.id !== first.id);
    if (second) Compare.open(first, second);
    else toast("The other picture is in the trash.");
  }

  // --- applying --------------------------------------------------------------------------------

  let digest = null, newest = null;

  async function preview() {
    const found = await post("/api/v1/actions/preview");
    digest = found.digest;
    const refused = found.refused ? `; ${many(found.refused, "file")} will not be touched, see why below` : "";
    at("preview-text").textContent = `${many(found.files, "file")} would go into the trash, ${bytes(found.bytes)}${refused}.`;
    at("preview-files").replaceChildren(
      make("thead", {}, make("tr", {}, make("th", { scope: "col", text: "What happens" }), make("th", { scope: "col", text: "File" }), make("th", { scope: "col", text: "What stays" }))),
      make("tbody", {}, ...found.outcomes.slice(0, 500).map((one) => make("tr", { class: one.state === "would" ? null : "refused" },
        make("td", { class: one.state === "would" ? "happens" : null, text: one.state === "would" ? `to the trash, ${bytes(one.size)}` : `not touched: ${one.reason}` }),
        make("td", {}, small(one.path_image), make("bdi", { text: shown(one.path) })), make("td", {}, small(one.keeper_image), make("bdi", { text: shown(one.keeper) }))))));
    if (found.outcomes.length > 500) at("preview-text").textContent += ` The first 500 are listed.`;
    at("apply").disabled = !found.files;
    at("apply").textContent = `Move ${many(found.files, "file")} to the trash`;
    at("preview-dialog").showModal();
  }

  function small(image) { return image && make("img", { class: "going", loading: "lazy", alt: "", src: thumb(image, 96) }); }

  async function apply() {
    at("apply").disabled = true;
    await post("/api/v1/actions/apply", { digest });
    const done = await waitFor("apply", (job) => { at("preview-text").textContent = progressText(job); });
    at("preview-dialog").close();
    toast(`${many(done.files, "file")} moved to the trash, ${bytes(done.bytes)}.` + (done.refused ? ` ${many(done.refused, "file")} left alone.` : ""), Boolean(done.refused));
    decided.length = 0;
    await refresh();
    await list(true);
    if (group.state === "done" && nextOpen() >= 0) await go(nextOpen());
  }

  async function history() {
    const runs = (await call("/api/v1/actions")).runs.reverse();
    // What this review has put into the trash can be brought back where one looks, not only at the end of the page.
    newest = runs.find((run) => run.counts.done && run.started >= summary.created) || null;
    at("trashed").hidden = !newest;
    if (newest) at("trashed-text").textContent = `${many(newest.counts.done, "file")} in the trash, ${bytes(newest.bytes_done)}`;
    at("history").replaceChildren(...(runs.length ? runs.slice(0, 20).map((run) => {
      const done = run.counts.done || 0, undone = run.counts.undone || 0;
      return make("li", { class: "run" },
        make("span", { text: `${run.started.replace("T", " ").replace("Z", "")} UTC · ${run.action} · ${done ? `${many(done, "file")}, ${bytes(run.bytes_done)}` : `undone, ${many(undone, "file")} back`}` }),
        done ? make("button", { type: "button", class: "button", text: "Bring back", "aria-label": `Undo run ${run.id}`, onclick: guarded(() => bringBack(run.id)) }) : null);
    }) : [make("li", { class: "soft", text: "Nothing yet." })]));
  }

  async function bringBack(run) {
    await post("/api/v1/actions/undo", { run });
    const done = await waitFor("undo");
    toast(`${many(done.files, "file")} brought back.` + (done.refused ? ` ${many(done.refused, "file")} could not be: ${done.outcomes.find((one) => one.state === "failed").reason}` : ""), Boolean(done.refused));
    await refresh();
    await list(true);
  }

  // --- wiring ----------------------------------------------------------------------------------

  function guarded(work) {
    return async (event) => {
      try { await work(event); } catch (error) { toast(error.message, true); }
    };
  }

  const KEYS = { k: () => decide("keep"), d: () => decide("distinct"), n: () => go(index + 1), p: () => go(index - 1), u: undo, c: () => compareWith(-1) };
  let busy = false;
  document.addEventListener("keydown", async (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || at("review").hidden) return;
    if (event.target.closest("input, select, textarea, dialog") || document.querySelector("dialog[open]")) return;
    const key = event.key === "ArrowRight" ? "n" : event.key === "ArrowLeft" ? "p" : event.key.toLowerCase();
    if (/^[1-9]$/.test(key)) { toggle(Number(key) - 1); return; }
    if (!KEYS[key] || busy) return;
    event.preventDefault();
    busy = true;
    await guarded(KEYS[key])();
    busy = false;
  });
  for (const [name, key] of [["keep", "k"], ["distinct", "d"], ["next", "n"], ["previous", "p"], ["undo", "u"], ["compare", "c"]]) at(name).addEventListener("click", guarded(KEYS[key]));
  at("preview").addEventListener("click", guarded(preview));
  at("preview-close").addEventListener("click", () => at("preview-dialog").close());
  at("apply").addEventListener("click", guarded(apply));
  at("bulk").addEventListener("click", () => {
    at("bulk-tiers").replaceChildren(make("legend", { text: "Groups whose pictures have" }), ...Object.entries(TIERS).map(([tier, words]) => {
      const count = summary.by_tier[tier].groups;
      const box = make("input", { type: "checkbox", value: tier, checked: Boolean(count) && (tier === "bytes" || tier === "pixels"), disabled: !count });
      return make("label", { class: count ? null : "soft" }, box, ` ${words} (${many(count, "group")})`);
    }));
    at("bulk-dialog").returnValue = "";
    at("bulk-dialog").showModal();
    foresee();
  });
  function bulkBody(decision) {
    const tiers = [...at("bulk-tiers").querySelectorAll("input:checked")].map((input) => input.value);
    const body = { decision, tiers };
    // The chosen rule comes first, the others decide where it cannot.
    const first = at("bulk-keep-rule").value, rules = at("search").elements.keep.defaultValue.split(",");
    if (first) body.keep = [first, ...rules.filter((rule) => rule !== first)].join(",");
    if (at("bulk-prefer").value) body.prefer = [at("bulk-prefer").value];
    return body;
  }
  let foreseen = 0;
  async function foresee() {
    const body = bulkBody("keep"), mine = ++foreseen;
    at("bulk-keep").disabled = !body.tiers.length;
    if (!body.tiers.length) { at("bulk-text").textContent = "Choose at least one kind of group."; return; }
    const found = await post("/api/v1/duplicates/decisions", { ...body, dry: true });
    if (mine !== foreseen) return;
    at("bulk-text").textContent = found.changed ? `${many(found.changed, "group")}: ${many(found.files, "file")} would be marked, ${bytes(found.bytes)}.` : "No group of these is left to decide.";
    at("bulk-keep").disabled = !found.changed;
  }
  at("bulk-dialog").addEventListener("change", guarded(foresee));
  at("back").addEventListener("click", guarded(() => bringBack(newest.id)));
  at("bulk-dialog").addEventListener("close", guarded(async () => {
    const choice = at("bulk-dialog").returnValue;
    const body = bulkBody(choice);
    if ((choice !== "keep" && choice !== "open") || !body.tiers.length) return;
    const done = await post("/api/v1/duplicates/decisions", body);
    toast(`${many(done.changed, "group")} ${choice === "keep" ? "marked" : "open again"}.`);
    await refresh();
    await list(true);
  }));
  at("search").addEventListener("submit", guarded(async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const body = { linkage: form.get("linkage"), keep: form.get("keep") || null };
    if (form.get("prefer")) body.prefer = [form.get("prefer")];
    if (form.get("radius")) body.radius = Number(form.get("radius"));
    try {
      await search(body);
      at("options").open = false;
    } finally {
      await refresh();
    }
    group = null;
    await list();
  }));
  let typing = 0;
  for (const name of ["tier", "sort", "state"]) at(name).addEventListener("change", guarded(() => list()));
  at("text").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(guarded(() => list()), 200); });
  Compare.start();

  guarded(async () => {
    try {
      await refresh();
      if (!summary) await search({});
    } catch (error) {
      at("progress").hidden = true;
      at("found").textContent = error.message;
      throw error;
    }
    await refresh();
    await list();
  })();
})();
