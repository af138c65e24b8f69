"use strict";
// Improves the pages; they work without a script, too.

// buttons that copy
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// a form is sent once, and shows that it is being sent
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.ariaBusy === "true") {
      event.preventDefault();
      return;
    }
    form.ariaBusy = "true";
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[aria-busy]")) form.removeAttribute("aria-busy");
});

// parts of a page that are refreshed while somebody looks at them
for (const part of document.querySelectorAll("[data-live]")) {
  const seconds = Number(part.dataset.seconds);
  const refresh = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(part.dataset.live, { method: part.dataset.method || "GET", headers: { Accept: "text/html" } });
        if (answer.ok) {
          const other = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
          if (other) part.replaceChildren(...other.childNodes);
          // the page has nothing to wait for any more
          if (other && !other.dataset.live) return;
        }
      } catch { /* the interface has ended: the page stays as it is */ }
    }
    setTimeout(refresh, seconds * 1000);
  };
  setTimeout(refresh, seconds * 1000);
}
