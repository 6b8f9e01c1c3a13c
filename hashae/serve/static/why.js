// Why two pictures match: their bits, and what the decoder makes of each.
"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  const place = at("why");
  const percent = (share) => `${Math.round(Math.max(share, 0) * 100)} %`;

  async function start() {
    const found = await call(`/api/v1/compare?a=${place.dataset.a}&b=${place.dataset.b}`);
    const apart = new Set(found.differing);
    at("verdict").textContent = found.distance === 0
      ? `All ${found.bits} bits of the two codes are equal.`
      : `${found.distance} of ${found.bits} bits ${found.distance === 1 ? "differs" : "differ"}; the encoder was unsure of ${found.unsure} of them. Two unlike pictures differ in about half of the bits.`;
    const decoder = found.decoder;
    for (const [side, image] of found.images.entries()) {
      if (!decoder) continue;
      at(`decoded-${side}`).src = `${base}/api/v1/codes/${image.code}/decoded.png`;
      at(`explained-${side}`).textContent = `shows ${percent(decoder.explained[side])} of what is there`;
    }
    const note = at("little");
    if (!decoder) {
      note.textContent = "This encoder came without a decoder, so its bits cannot be shown as pictures.";
      note.hidden = false;
      for (const figure of document.querySelectorAll(".flip .seen, .seen figure:nth-child(2)")) figure.hidden = true;
    } else if (decoder.little) {
      note.textContent = `The decoder shows little here: at least one of the pictures decoded from the codes explains only ${percent(Math.min(...decoder.explained))} of the variance of what the encoder sees. Take these pictures as a hint of large shapes, and not as a proof of what was compared.`;
      note.hidden = false;
    }
    draw(found, apart);
  }

  function draw(found, apart) {
    const buttons = [];
    for (let bit = 0; bit < found.bits; bit++) {
      const differs = apart.has(bit), sure = found.sureness[bit];
      const button = make("button", {
        type: "button", class: differs ? "bit differs" : "bit", tabindex: bit ? "-1" : "0", "aria-pressed": "false",
        "aria-label": `Bit ${bit}: ${differs ? "differs" : "equal"}, ${percent(sure)} sure`, title: `bit ${bit}`,
      });
      button.style.opacity = String(0.25 + 0.75 * sure);
      button.addEventListener("click", () => choose(found, buttons, bit));
      buttons.push(button);
    }
    at("bits").replaceChildren(...buttons);
    at("bits").addEventListener("keydown", (event) => {
      const now = buttons.indexOf(document.activeElement);
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16 }[event.key];
      if (now < 0 || !step || !buttons[now + step]) return;
      event.preventDefault();
      buttons[now].tabIndex = -1;
      buttons[now + step].tabIndex = 0;
      buttons[now + step].focus();
      choose(found, buttons, now + step);
    });
    if (found.decoder) {
      at("flip-before").src = `${base}/api/v1/codes/${found.images[0].code}/decoded.png`;
      const most = Math.max(...found.decoder.moved), mean = found.decoder.moved.reduce((a, b) => a + b, 0) / found.bits;
      at("most").textContent = `One bit moves the decoded picture by ${mean.toFixed(1)} of 255 levels on average, at most by ${most.toFixed(1)}.`;
    }
    const first = found.differing.length ? found.differing[0] : 0;
    choose(found, buttons, first);
  }

  function choose(found, buttons, bit) {
    for (const [number, button] of buttons.entries()) button.setAttribute("aria-pressed", String(number === bit));
    const differs = found.differing.includes(bit);
    const sure = found.images.map((image) => percent(image.sureness[bit])).join(" and ");
    let text = `Bit ${bit} ${differs ? "differs" : "is the same"}; the encoder was ${sure} sure of it.`;
    if (found.decoder) {
      at("flip-after").src = `${base}/api/v1/codes/${found.images[0].code}/decoded.png?flip=${bit}`;
      text += ` Flipping it moves the decoded picture by ${found.decoder.moved[bit].toFixed(1)} of 255 levels.`;
    }
    at("flip-text").textContent = text;
  }

  start().catch((error) => { at("verdict").textContent = error.message; toast(error.message, true); });
})();
