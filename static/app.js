// What htmx leaves to the page: say that the server is gone, keep the focus, and show no stale page.

const parts = (form) => [form?.querySelector(".result"), form?.querySelector("[role=alert]")];

document.addEventListener("htmx:config:request", (event) => {
  const form = event.target.closest("form");
  for (const part of parts(form)) part?.replaceChildren();
  // A button that is disabled while it sends loses the focus; remember who had it.
  if (form) form.focused = document.activeElement;
});

document.addEventListener("htmx:finally:request", (event) => {
  const { focused } = event.target;
  if (!focused) return;
  // The button is enabled again right after this event. Whoever has moved on meanwhile is left alone.
  queueMicrotask(() => {
    if (document.activeElement === document.body) focused.focus();
  });
});

// No answer at all: the network failed, or the time was up.
document.addEventListener("htmx:error", (event) => {
  const alert = event.target.closest("form")?.querySelector("[role=alert]");
  const reason = event.detail.ctx?.request.signal.reason;
  if (alert) alert.textContent = reason === "timeout" ? alert.dataset.timeout : alert.dataset.unreachable;
});

// A boosted link has replaced the page, and the focus went with it. Without a load that a screen reader would announce,
// the new page says its name when it takes the focus; the next Tab leads to its first link.
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx.target === document.body && document.activeElement === document.body) {
    document.querySelector("main").focus();
  }
});

// Back and Forward may show a page as it was left, without asking the server (bfcache; no-store does not prevent it).
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
// Such a page is visible for a moment before it reloads: hide it when it is left.
window.addEventListener("pagehide", () => {
  document.documentElement.hidden = true;
});
