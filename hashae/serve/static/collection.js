// Long work on the collection: start it, show how far it is, load the page again when it is done.
"use strict";

(() => {
  async function follow(name) {
    const text = document.getElementById(`${name}-text`), bar = document.getElementById(`${name}-progress`);
    bar.hidden = false;
    try {
      await waitFor(name, (job) => {
        text.textContent = progressText(job);
        if (job.total) { bar.max = job.total; bar.value = job.done; }
      });
      location.reload();
    } catch (error) {
      text.textContent = error.message;
      toast(error.message, true);
    } finally {
      bar.hidden = true;
    }
  }
  for (const button of document.querySelectorAll("button[data-job]")) {
    const name = button.dataset.job;
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await post(button.dataset.path);
        await follow(name);
      } catch (error) {
        toast(error.message, true);
      }
      button.disabled = false;
    });
    call(`/api/v1/jobs/${name}`).then((job) => { if (job.state === "running") follow(name); }).catch(() => {});
  }
})();
