// Copy buttons: each gives the path beside it, or the one it carries, exactly as it is on disk.
(() => {
  "use strict";
  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  };
  const written = (text, before) => {
    const box = document.createElement("textarea");
    box.value = text;
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    before.focus({ preventScroll: true });
    return done;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const text = button.dataset.path ? JSON.parse(button.dataset.path) : button.previousElementSibling.textContent;
    const done = (await copied(text)) || written(text, button);
    button.textContent = done ? "copied" : "not allowed";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
})();
