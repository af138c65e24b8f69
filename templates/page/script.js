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

// a form that is pressed twice is sent once, and shows that it is being sent
for (const form of document.querySelectorAll("form[method=post]")) {
  let pressed = -Infinity;
  form.addEventListener("submit", (event) => {
    if (event.timeStamp - pressed < 1000) {
      event.preventDefault();
      return;
    }
    pressed = event.timeStamp;
    form.ariaBusy = "true";
  });
}
// whoever comes back, or stops the browser, may send it again
const rest = () => {
  for (const form of document.querySelectorAll("form[aria-busy]")) form.removeAttribute("aria-busy");
};
addEventListener("pageshow", rest);
addEventListener("keydown", (event) => { if (event.key === "Escape") rest(); });

// parts of a page that are refreshed while somebody looks at them
for (const part of document.querySelectorAll("[data-live]")) {
  const seconds = Number(part.dataset.seconds);
  const refresh = async () => {
    if (!document.hidden) {
      try {
        const headers = { Accept: "text/html", "Kestack-Part": "1" };
        const answer = await fetch(part.dataset.live, { method: part.dataset.method || "GET", headers });
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const other = page.getElementById(part.id);
          if (other) part.replaceChildren(...other.childNodes);
          // what a screen reader says, as soon as it is something else
          for (const said of document.querySelectorAll("[aria-live][id]")) {
            const text = page.getElementById(said.id)?.textContent;
            if (text !== undefined && text !== said.textContent) said.textContent = text;
          }
          // the page has nothing to wait for any more
          if (other && !other.dataset.live) return;
        }
      } catch { /* the interface has ended: the page stays as it is */ }
    }
    setTimeout(refresh, seconds * 1000);
  };
  setTimeout(refresh, seconds * 1000);
}
