// Shows the groups that lie in the page as JSON, a page of them at a time. Names become text nodes, never markup.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const head = JSON.parse($("head").textContent);
  const list = $("groups");
  const tiers = [...document.querySelectorAll("input[name=tier]")];
  const figures = new Intl.NumberFormat("en");
  let page = 0;
  let shown = [];

  const readGroup = ([number, tier, diameter, chained, count, bytes, distance, pictures, images]) => (
    { number, tier, diameter, chained, count, bytes, distance, pictures, images, first: 0, block: 0, text: null }
  );
  const readImage = (
    [folder, name, size, width, height, format, date, distance, tier, flags, reason, confidence, copied, address],
  ) => {
    const place = head.folders[folder];
    const path = place || name[0] === "/" ? `${place}/${name}` : name;
    const plain = () => `file://${path.split("/").map(encodeURIComponent).join("/")}`;
    return {
      folder: path.slice(0, path.length - name.length), name, path, size, width, height, date, distance, tier, reason,
      confidence, format: head.formats[format], keep: flags & 1, stays: flags & 2, middle: flags & 4,
      copied: copied === 0 ? path : copied, address: address === 0 ? plain() : address,
    };
  };
  const groups = [];
  for (const block of document.querySelectorAll("script.groups")) {
    for (const row of JSON.parse(block.textContent)) groups.push(readGroup(row));
    block.remove();
  }
  // Thumbnails lie in blocks of so many groups, a line each, in the order of the report.
  for (let place = 0, line = 0; place < groups.length; place += 1) {
    if (place % head.block === 0) line = 0;
    groups[place].block = Math.floor(place / head.block);
    groups[place].first = line;
    line += groups[place].pictures;
  }
  const blocks = new Map();
  const pictureLines = (block) => {
    if (blocks.has(block)) return blocks.get(block);
    const element = $(`pictures-${block}`);
    // As long as the page is being read, a block is whole only if the next one has begun.
    const whole = document.readyState !== "loading" || $(`pictures-${block + 1}`);
    if (!element || !whole) return [];
    const text = element.textContent.slice(1);
    const lines = text ? text.slice(0, -1).split("\n") : [];
    if (blocks.size > 40) blocks.clear();
    blocks.set(block, lines);
    return lines;
  };

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const humanSize = (bytes) => {
    if (bytes < 1000) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
    const units = ["kB", "MB", "GB", "TB"];
    let unit = 0;
    for (bytes /= 1000; bytes >= 999.95 && unit < 3; bytes /= 1000) unit += 1;
    return `${bytes.toFixed(1)} ${units[unit]}`;
  };
  const many = (number, word) => `${figures.format(number)} ${word}${number === 1 ? "" : "s"}`;
  const mark = (tier) => make("span", { class: `tier t-${head.tiers[tier]}` }, head.titles[tier]);
  // A long path may be broken after each of its slashes.
  const pieces = (text) => text.split("/").flatMap((part, at) => (at ? ["/", make("wbr", {}), part] : [part]));

  const thumbnail = (image, group, at) => {
    const lines = at < group.pictures ? pictureLines(group.block) : [];
    const own = lines[group.first + at];
    const line = own === "=" ? lines[group.first] : own; // a twin of the one that is kept
    if (!line) {
      const missing = at < group.pictures && document.readyState === "loading" ? "…" // its block is not read yet
        : line === undefined ? "No preview, to keep this page small" : "No preview: the file is gone or cannot be read";
      const box = { class: line === undefined ? "thumb gone left-out" : "thumb gone" };
      if (image.address === null || line === "") return make("span", box, missing);
      return make("a", { ...box, href: image.address, target: "_blank", rel: "noreferrer" }, missing);
    }
    const picture = make("img", { src: `data:image/jpeg;base64,${line}`, alt: "", decoding: "async" });
    if (image.address === null) return make("span", { class: "thumb" }, picture);
    const where = { class: "thumb", href: image.address, target: "_blank", rel: "noreferrer" };
    return make("a", { ...where, "aria-label": `Open the full picture ${image.name}` }, picture);
  };
  const card = (group, row, at) => {
    const image = readImage(row);
    const copy = image.copied === null ? null : make("button", { class: "copy", "aria-label": "Copy path" }, "copy");
    if (copy && image.copied !== image.path) copy.dataset.path = JSON.stringify(image.copied);
    const facts = image.keep
      ? [make("p", { class: "mark" }, "✓ Keep")]
      : [
        make("p", { class: "mark" }, mark(image.tier)),
        make("p", {}, `${image.distance} of ${head.bits} bits differ${image.stays ? "; stays as well" : ""}`),
      ];
    if (image.reason) facts.push(make("p", { class: "soft" }, make("bdi", {}, image.reason)));
    if (image.middle && group.count > 2 && group.diameter > 0) {
      const hint = "The representative: all others are within the radius of it";
      facts.push(make("p", { class: "soft", title: hint }, "in the middle of the group"));
    }
    const path = make("bdi", { dir: "ltr" }, make("i", {}, ...pieces(image.folder)), image.name);
    facts.push(
      make("p", { class: "path" }, path, copy),
      make("p", {}, `${image.width} × ${image.height}, ${image.format}, ${humanSize(image.size).replace(" ", "\u00a0")}`),
      make("p", { class: "soft" }, image.date || "unknown date"),
    );
    if (image.confidence !== null) {
      const hint = "How sure the least certain bits of its code are, from 0 to 1";
      facts.push(make("p", { class: "soft", title: hint }, `confidence ${image.confidence.toFixed(2)}`));
    }
    return make("li", image.keep ? { class: "keep" } : {}, thumbnail(image, group, at), make("div", {}, ...facts));
  };
  const article = (group) => {
    const chain = "Joined through images in between: some are farther than the radius from the representative";
    const apart = "Largest distance between two of its images";
    const left = group.count - group.images.length;
    return make("article", { class: "card", tabindex: "-1", "aria-label": `Group ${group.number}` },
      make("header", {},
        make("h2", {}, `Group ${figures.format(group.number)}`),
        mark(group.tier),
        make("span", { class: "soft" }, many(group.count, "image")),
        make("span", { class: "soft", title: apart }, `diameter ${group.diameter} of ${head.bits} bits`),
        group.chained ? make("span", { class: "chain", title: chain }, "chain") : null,
        make("span", { class: "free" }, `${humanSize(group.bytes)} to free`)),
      make("ul", { class: "images" }, ...group.images.map((row, at) => card(group, row, at))),
      left > 0 ? make("p", { class: "more" },
        `and ${many(left, "more image")}; the CSV and JSON reports list all ${figures.format(group.count)}.`) : null);
  };

  const newest = (group) => group.images.reduce((last, row) => (row[6] > last ? row[6] : last), "");
  const oldest = (group) => group.images.reduce((first, row) => (row[6] && row[6] < first ? row[6] : first), "~");
  const byDate = (pick, sign) => (a, b) => sign * (pick(a) < pick(b) ? -1 : pick(a) > pick(b) ? 1 : 0);
  const orders = {
    bytes: (a, b) => b.bytes - a.bytes,
    near: (a, b) => a.distance - b.distance,
    far: (a, b) => b.distance - a.distance,
    images: (a, b) => b.count - a.count,
    newest: byDate(newest, -1),
    oldest: byDate(oldest, 1),
  };
  const paths = (group) => {
    group.text ??= group.images.map((row) => readImage(row).path).join("\n").toLowerCase();
    return group.text;
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(shown.length / head.page));
    page = Math.min(Math.max(page, 0), pages - 1);
    const first = page * head.page;
    const part = shown.slice(first, first + head.page);
    list.replaceChildren(...part.map(article));
    const freed = humanSize(shown.reduce((sum, g) => sum + g.bytes, 0));
    const range = pages > 1 ? `, ${figures.format(first + 1)} to ${figures.format(first + part.length)} shown` : "";
    $("count").textContent = shown.length
      ? `${many(shown.length, "group")}, ${freed} to free${range}`
      : "No group fits these filters";
    for (const button of document.querySelectorAll("[data-step]")) {
      button.disabled = button.dataset.step < 0 ? page === 0 : page === pages - 1;
      if (button.parentElement.classList.contains("pager")) button.parentElement.hidden = pages === 1;
      button.hidden = pages === 1;
    }
  };
  const select = () => {
    const wanted = new Set(tiers.filter((box) => box.checked).map((box) => head.tiers.indexOf(box.value)));
    const text = $("text").value.trim().toLowerCase();
    const folder = $("folder")?.value;
    const inside = folder ? head.folders.map((name) => name === folder || name.startsWith(`${folder}/`)) : null;
    const format = $("format")?.value ? head.formats.indexOf($("format").value) : -1;
    const farthest = $("farthest")?.value ? Number($("farthest").value) : Infinity;
    shown = groups.filter((g) => wanted.has(g.tier) && g.distance <= farthest
      && (!inside || g.images.some((row) => inside[row[0]]))
      && (format < 0 || g.images.some((row) => row[5] === format))
      && (!text || paths(g).includes(text))).sort(orders[$("sort").value]);
    page = 0;
    show();
  };
  const turn = (step) => {
    page += step;
    show();
    $("top").scrollIntoView();
  };
  const focus = (element) => {
    if (!element) return;
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "start" });
  };
  const move = (step) => {
    const current = document.activeElement.closest?.("#groups > article");
    if (!current) {
      const visible = [...list.children].find((a) => a.getBoundingClientRect().bottom > 90);
      focus(visible ?? list.firstElementChild);
      return;
    }
    const next = step > 0 ? current.nextElementSibling : current.previousElementSibling;
    if (next) {
      focus(next);
    } else if (shown[(page + (step > 0)) * head.page - (step < 0)]) {
      turn(step);
      focus(step > 0 ? list.firstElementChild : list.lastElementChild);
    }
  };

  let timer;
  const soon = () => { clearTimeout(timer); timer = setTimeout(select, 150); };
  for (const id of ["text", "farthest"]) $(id)?.addEventListener("input", soon);
  for (const id of ["sort", "folder", "format"]) $(id)?.addEventListener("change", select);
  for (const box of tiers) box.addEventListener("change", select);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.step) turn(Number(button.dataset.step));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches?.("input[type=search], input[type=number], select");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing) return;
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "n" && (page + 1) * head.page < shown.length) turn(1);
    else if (event.key === "p" && page > 0) turn(-1);
    else if (event.key === "/") $("text").focus();
    else return;
    event.preventDefault();
  });
  $("top").hidden = false;
  document.querySelector(".status").hidden = false;
  select();
  // Groups are on screen before the thumbnails behind this script are read; then they get theirs.
  document.addEventListener("DOMContentLoaded", () => {
    for (const [at, element] of [...list.children].entries()) {
      const group = shown[page * head.page + at];
      for (const [place, item] of [...element.querySelectorAll("li")].entries()) {
        item.querySelector(".left-out")?.replaceWith(thumbnail(readImage(group.images[place]), group, place));
      }
    }
  });
})();
