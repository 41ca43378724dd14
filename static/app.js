// What htmx leaves to the page: say that the server is gone, keep the focus, lose no typed text, show nothing stale.

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

// Unsaved text. A textarea's `value` is what the visitor sees, and its `defaultValue` what is saved, as far as this tab
// knows. `data-unsaved` marks a text that the server gave back because it could not save it.

const quote = () => document.getElementById("quote");
const isUnsaved = (field) => field && (field.value !== field.defaultValue || "unsaved" in field.dataset);
const mayLeave = () => !isUnsaved(quote()) || confirm("Your text is not saved. Leave without it?");

const noteSaved = (field, text) => {
  field.defaultValue = text;
  delete field.dataset.unsaved;
  field.form.querySelector(".changed").hidden = true;
};

// Whoever closes the tab, reloads or follows a plain link is asked by the browser,
window.addEventListener("beforeunload", (event) => {
  if (isUnsaved(quote())) event.preventDefault();
});
// who follows a boosted link is asked by us,
document.addEventListener("htmx:config:request", (event) => {
  if (event.detail.ctx.request.headers["HX-Boosted"] && !mayLeave()) event.preventDefault();
});
// and so is who goes back from a boosted page. There the address has changed by now: put the page's own back.
document.addEventListener("htmx:before:history:restore", (event) => {
  if (mayLeave()) return;
  event.preventDefault();
  history.pushState({ htmx: true }, "", "/");
});

// A tab that is shown again asks what the quote is now. Without an answer nothing is known, so nothing is said.

let turn = 0; // answers to earlier turns are out of date: a save or a later question came between

const askForQuote = async (field) => {
  const mine = ++turn;
  const answer = await fetch("/session/quote", { headers: { "If-None-Match": field.etag ?? "" } });
  const saved = await answer.text();
  if (answer.status !== 200 || mine !== turn) return;
  field.etag = answer.headers.get("ETag");
  const [result] = parts(field.form);
  const typed = isUnsaved(field);
  if (typed && saved !== field.value && saved !== field.defaultValue) {
    const notice = field.form.querySelector(".changed");
    notice.querySelector("blockquote").textContent = saved;
    notice.hidden = false;
    result.replaceChildren();
    return;
  }
  if (saved !== field.value && !typed) {
    field.value = saved;
    result.textContent = "Changed elsewhere. This is what is saved now.";
  }
  noteSaved(field, saved);
};

document.addEventListener("click", ({ target }) => {
  const notice = target.closest(".changed");
  if (!notice || !target.matches("button")) return;
  noteSaved(quote(), notice.querySelector("blockquote").textContent);
  if (target.value === "show") quote().value = quote().defaultValue;
  quote().focus();
});

document.addEventListener("htmx:config:request", () => turn++);
document.addEventListener("htmx:finally:request", (event) => {
  const { request, response } = event.detail.ctx;
  turn++;
  if (request.method === "PUT" && response?.status === 200) noteSaved(request.form.quote, request.body.get("quote"));
});

let away = document.hidden;
const leave = () => (away = true);
const comeBack = () => {
  if (!away || document.hidden) return;
  away = false;
  document.body.dispatchEvent(new Event("shown-again")); // the manage page has htmx listen for it
  const field = quote();
  if (field && !("unsaved" in field.dataset)) askForQuote(field).catch(() => {});
};
window.addEventListener("blur", leave);
window.addEventListener("focus", comeBack); // a window beside another one is always visible
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : comeBack()));

// Back and Forward may show a page as it was left, without asking the server (bfcache; no-store does not prevent it).
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  quote()?.form.reset(); // who left unsaved text behind has been asked, and is not asked again
  location.reload();
});
// Such a page is visible for a moment before it reloads: hide it when it is left.
window.addEventListener("pagehide", () => {
  document.documentElement.hidden = true;
});
