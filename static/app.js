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

// A boosted link has replaced the page, and the focus went with it. Without a load that a screen reader would announce,
// the new page says its name when it takes the focus; the next Tab leads to its first link.
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx.target === document.body && document.activeElement === document.body) {
    document.querySelector("main").focus();
  }
});

// Typed text. A textarea's `value` is what the visitor sees, its `defaultValue` what is saved, as far as this tab knows.
// `data-unsaved` marks a text that the server has given back because it could not save it.

const quote = () => document.getElementById("quote");
const isUnsaved = (field) => field && (field.value !== field.defaultValue || "unsaved" in field.dataset);
const mayLeave = () => !isUnsaved(quote()) || confirm("Your text is not saved. Leave without it?");

const noteSaved = (field, text) => {
  field.defaultValue = text;
  delete field.dataset.unsaved;
  field.form.querySelector(".changed").hidden = true;
};

document.addEventListener("htmx:finally:request", (event) => {
  const { request, response } = event.detail.ctx;
  if (request.method === "PUT" && response?.status === 200) noteSaved(request.form.quote, request.body.get("quote"));
});

// Whoever closes the tab, reloads or follows a plain link with unsaved text is asked by the browser,
window.addEventListener("beforeunload", (event) => {
  if (isUnsaved(quote())) event.preventDefault();
});
// who follows a boosted link is asked by us,
document.addEventListener("htmx:config:request", (event) => {
  if (event.detail.ctx.request.headers["HX-Boosted"] && !mayLeave()) event.preventDefault();
});
// and so is who goes back to a boosted page. The browser has changed the address by then: put this page's own back.
document.addEventListener("htmx:before:history:restore", (event) => {
  if (mayLeave()) return;
  event.preventDefault();
  history.pushState({ htmx: true }, "", "/");
});

// A tab that is shown again asks what is saved by now. Without an answer nothing is known, so nothing is said.

let turn = 0; // an answer counts only if neither another question nor a request of htmx came after its question
const nextTurn = () => ++turn;
document.addEventListener("htmx:config:request", nextTurn);
document.addEventListener("htmx:finally:request", nextTurn);

const askForQuote = async (field) => {
  const mine = nextTurn();
  const answer = await fetch("/session/quote", { headers: { "If-None-Match": field.etag ?? "" } });
  const saved = await answer.text();
  if (answer.status !== 200 || mine !== turn) return;
  field.etag = answer.headers.get("ETag");
  const [result] = parts(field.form);
  if (!isUnsaved(field)) {
    if (saved !== field.value) result.textContent = "Updated: it was changed elsewhere.";
    field.value = saved;
  } else if (saved !== field.value && saved !== field.defaultValue) {
    const notice = field.form.querySelector(".changed");
    notice.querySelector("blockquote").textContent = saved;
    notice.hidden = false;
    result.replaceChildren();
    return; // the visitor chooses
  }
  noteSaved(field, saved);
};

document.addEventListener("click", ({ target }) => {
  if (!target.matches(".changed button")) return;
  const field = quote();
  noteSaved(field, target.parentElement.querySelector("blockquote").textContent);
  if (target.value === "show") field.value = field.defaultValue;
  field.focus();
});

let away = document.hidden;
const leave = () => {
  away = true;
};
const comeBack = () => {
  if (!away || document.hidden) return;
  away = false;
  document.body.dispatchEvent(new Event("shown-again")); // makes htmx fetch what the manage page shows
  const field = quote();
  if (field && !("unsaved" in field.dataset)) askForQuote(field).catch(() => {});
};
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : comeBack()));
window.addEventListener("blur", leave);
window.addEventListener("focus", comeBack); // for windows side by side, which are never hidden

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

// htmx has started before this script, and perhaps before its extension had arrived: let it look at the page again.
htmx.process(document.body, true);
