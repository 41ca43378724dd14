// What htmx leaves to the page: show errors, keep the focus, let the visitor's last navigation win, lose no typed text,
// show nothing stale. Attributes of a text field switch on the last two:
//   data-unsaved-guard      ask before the visitor leaves with unsaved text
//   data-fresh="/address"   fetch the saved text from this address when the tab is shown again
//   data-fresh-name="note"  the word for that text in messages

const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// A boosted link or form, Back or Forward: the answer is a whole page.
const isNavigation = ({ request: { headers } }) => "HX-Boosted" in headers || isHistory({ request: { headers } });
const isHistory = ({ request: { headers } }) => "HX-History-Restore-Request" in headers;

// Errors

const UNREACHABLE = "The server cannot be reached. Try again in a moment.";
const TIMEOUT = "The server did not answer in time. It may have done what you asked: check before you try again.";

// The error place of the element's form, or else of the page.
const findErrorPlace = (element) => {
  const form = element.closest("form");
  const places = (form ?? document).querySelectorAll(".error");
  return [...places].find((place) => place.closest("form") === form);
};

const errorPlace = (element) => {
  const found = findErrorPlace(element);
  if (found) return found;
  const place = make("div", { className: "error", role: "alert" });
  (element.closest("form") ?? document.querySelector("main") ?? document.body).append(place);
  return place;
};

document.addEventListener("htmx:config:request", ({ target, detail: { ctx } }) => {
  if (isNavigation(ctx) || !ctx.sourceEvent?.isTrusted) return;
  findErrorPlace(target)?.replaceChildren();
  target.closest("form")?.querySelector(".result")?.replaceChildren();
});

// Show an error in an error place, and make a place if there is none. If the response is a page, show only its text.
const redirectError = (ctx, task) => {
  task.target ??= errorPlace(ctx.sourceElement);
  const texts = [...task.fragment.querySelectorAll("main [role=alert] > *")];
  if (!texts.length) return;
  task.fragment.replaceChildren(...texts.map(({ textContent }) => make("p", { textContent })));
  ctx.title = null;
};

// No answer at all: the network failed, the request timed out, or the visitor is leaving, which aborts requests. Some
// engines report the failure before they report that the visitor leaves, so wait for a moment.
document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  setTimeout(() => {
    const element = ctx?.sourceElement;
    if (!element?.isConnected || leaving || (isNavigation(ctx) && ctx !== pageRequest)) return;
    if (isHistory(ctx)) return leaveFor(ctx, () => location.reload());
    // Follow the link as if it were not boosted, so the browser shows what is wrong.
    if (isNavigation(ctx) && element.matches("a")) return leaveFor(ctx, () => location.assign(element.href));
    if (ctx.sourceEvent && !ctx.sourceEvent.isTrusted) return; // the visitor did not cause this request
    const place = errorPlace(element);
    const timeout = ctx.request.signal.reason === "timeout";
    const kept = element.querySelector("[data-unsaved-guard]") ? " What you entered is still here." : "";
    place.textContent = timeout ? (place.dataset.timeout ?? TIMEOUT + kept) : (place.dataset.unreachable ?? UNREACHABLE + kept);
  }, 100);
});

// Focus

// A button that is disabled during a request loses the focus, so remember the focused element.
document.addEventListener("htmx:config:request", ({ target }) => {
  const form = target.closest("form");
  if (form) form.focused = document.activeElement;
});

document.addEventListener("htmx:finally:request", ({ target: { focused } }) => {
  // The button is enabled again right after this event. If the visitor has moved on meanwhile, leave the focus there.
  queueMicrotask(() => {
    if (document.activeElement === document.body) focused?.focus();
  });
});

// If the focused element was replaced, focus <main>. After a boosted link, this does what a browser does after a load:
// a screen reader says the page's name, and the next Tab leads to its first link.
let hadFocus;
document.addEventListener("htmx:before:swap", () => {
  hadFocus = document.activeElement !== document.body;
});
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  if (document.activeElement !== document.body) return;
  const main = document.querySelector("main");
  if (!main || !(hadFocus || isNavigation(ctx))) return;
  main.ariaLabel = (ctx.title || document.title).split(" · ")[0];
  main.focus();
});

// Navigation: the last one wins

let pageRequest; // htmx's request for the page that the visitor wants to see
let leaving = false; // the browser itself is loading another page

document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  if (!isNavigation(ctx)) return;
  pageRequest?.request.abort?.();
  pageRequest = ctx;
});

// Leave a download, or anything else that is not a page, to the browser.
document.addEventListener("htmx:before:response", (event) => {
  const { ctx } = event.detail;
  const { headers, status } = ctx.response.raw;
  const isAttachment = /^\s*attachment/i.test(headers.get("Content-Disposition"));
  if (!isNavigation(ctx) || [204, 205, 304].includes(status)) return;
  if (/^text\/html\b/i.test(headers.get("Content-Type")) && !isAttachment) return;
  event.preventDefault();
  if (ctx !== pageRequest) return;
  if (ctx.request.method === "GET") {
    ctx.request.abort?.();
    leaveFor(ctx, () => location.assign(addressOf(ctx)));
  } else {
    // The request must not be sent twice.
    const disposition = headers.get("Content-Disposition") ?? "";
    const [, name] = disposition.match(/filename="?([^";]+)/i) ?? [];
    const [, encoded] = disposition.match(/filename\*=utf-8''([^;]+)/i) ?? []; // for a space, or beyond ASCII
    ctx.response.raw.blob().then((file) => {
      const link = make("a", { href: URL.createObjectURL(file) });
      if (isAttachment) link.download = encoded ? decodeURIComponent(encoded) : (name ?? "");
      link.click();
    });
  }
});

document.addEventListener("htmx:before:swap", (event) => {
  const { ctx, tasks } = event.detail;
  const { status, redirected } = ctx.response.raw;
  const task = tasks.find(({ type }) => type === "main");
  if (!isNavigation(ctx)) {
    if (status >= 400 && task) redirectError(ctx, task);
    return;
  }
  if (ctx !== pageRequest || !mayReplacePage(ctx)) return event.preventDefault();
  if (namesNewFiles(ctx.text) && (ctx.request.method === "GET" || redirected)) {
    event.preventDefault();
    return leaveFor(ctx, () => (isHistory(ctx) ? location.reload() : location.assign(addressOf(ctx))));
  }
  if (task) task.target = document.body; // also if the page is an error page
  if (status >= 400 && ctx.request.method !== "GET") ctx.push = "false"; // a reload would send a GET to this address
  scrolledTo[position] = isHistory(ctx) ? lastScroll : scrollY;
  if (isHistory(ctx)) position = history.state?.at ?? position;
});

// htmx ignores a response's <head>, except for the title. A page needs a full load if it has its own files, or files of
// a newer version of the app.
const filesOf = ({ head }) =>
  [...head.querySelectorAll("script[src], link[rel=stylesheet]")].map((element) => element.src || element.href);
const namesNewFiles = (text) => {
  const loaded = filesOf(document);
  return filesOf(new DOMParser().parseFromString(text, "text/html")).some((file) => !loaded.includes(file));
};

const addressOf = ({ request, response }) => {
  const { pathname, search } = new URL(response.raw.url || request.action, location.href);
  return pathname + search + (request.anchor ? `#${request.anchor}` : "");
};

// Each entry of the tab's history stores its position, to undo a Back or Forward that the visitor cancels.

let position = history.state?.at ?? history.length - 1;
let returning = false;
const stamp = () => history.replaceState({ ...history.state, at: position }, "");
stamp();
document.addEventListener("htmx:before:history:update", () => {
  history.scrollRestoration = "manual"; // otherwise the browser stores the new page's scroll position
  stamp(); // htmx may have replaced the state
});
document.addEventListener("htmx:after:swap", stamp);
document.addEventListener("htmx:after:history:push", () => {
  position += 1;
  history.scrollRestoration = "auto";
  stamp();
});

// Back and Forward restore the scroll position.

const scrolledTo = {}; // by position in the history
let lastScroll = scrollY;
let traversing = false; // during Back and Forward the browser may scroll the old page before the new page arrives
window.addEventListener("scroll", () => {
  if (!traversing) lastScroll = scrollY;
});
window.addEventListener("popstate", ({ state }) => {
  traversing = Boolean(state?.htmx);
});
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  if (!isNavigation(ctx)) return;
  if (isHistory(ctx)) scrollTo(0, scrolledTo[position] ?? 0);
  traversing = false;
  lastScroll = scrollY;
});

document.addEventListener("htmx:before:history:restore", (event) => {
  if (returning) {
    event.preventDefault();
    traversing = false;
  }
  returning = false;
});
const undoTraversal = () => {
  const distance = position - (history.state?.at ?? position);
  returning = distance !== 0;
  if (returning) history.go(distance);
};

// Unsaved text. A field's `value` is what the visitor sees. Its `defaultValue` is what the server has saved, as far as
// this tab knows. `data-unsaved` marks a text that the server has given back because it may not be saved.

const all = (selector) => [...document.querySelectorAll(selector)];
const isUnsaved = (field) => field.value !== field.defaultValue || "unsaved" in field.dataset;
const unsavedFields = (form) => all("[data-unsaved-guard]").filter((field) => field.form !== form && isUnsaved(field));
const unsavedText = (form) => unsavedFields(form).map((field) => field.value).join("\0"); // except those that `form` sends

// Ask before replacing unsaved text: when the navigation starts, and again if the visitor types more before the answer.
const mayReplacePage = (ctx) => {
  const text = unsavedText(ctx.request.form ?? undefined);
  if (!unsavedFields(ctx.request.form ?? undefined).length || text === ctx.givenUp) return true;
  if (confirm("You may have unsaved text. Leave without it?")) {
    ctx.givenUp = text;
    return true;
  }
  if (isHistory(ctx)) undoTraversal();
  return false;
};

document.addEventListener("htmx:config:request", (event) => {
  const { ctx } = event.detail;
  if (isNavigation(ctx) && !mayReplacePage(ctx)) event.preventDefault();
});

let mayLeave; // the form whose text is being sent, or true if the visitor has been asked already
const leaveFor = (ctx, load) => {
  mayLeave = unsavedText(ctx.request.form ?? undefined) === (ctx.givenUp ?? "");
  load();
};
window.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) mayLeave = event.target;
});
window.addEventListener("beforeunload", (event) => {
  if (mayLeave !== true && unsavedFields(mayLeave || undefined).length) event.preventDefault();
  mayLeave = undefined;
  pageRequest?.request.abort?.();
  leaving = true;
  setTimeout(() => {
    leaving = false; // the visitor stayed, or it was a download
  }, 1000);
});

const sayUnsaved = (field) => {
  const result = field.form?.querySelector(".result");
  const shown = result?.querySelector(".unsaved") !== null;
  if (!result || shown === isUnsaved(field)) return;
  result.replaceChildren(shown ? "" : make("span", { className: "unsaved" }, "Not saved"));
};
document.addEventListener("input", ({ target }) => {
  if ("unsavedGuard" in target.dataset) sayUnsaved(target);
});

const noteSaved = (field, text) => {
  field.defaultValue = text;
  delete field.dataset.unsaved;
  field.notice?.remove();
};

// Chromium's `navigator.cookieEnabled` does not show this, so try to set a cookie.
const cookiesAreRefused = () => {
  document.cookie = "probe=1; SameSite=Strict";
  const refused = !document.cookie.includes("probe=1");
  document.cookie = "probe=; SameSite=Strict; Max-Age=0";
  return refused;
};

document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
  const { request, response } = ctx;
  if (request.method === "GET" || !request.form || !response?.raw.ok || isNavigation(ctx)) return;
  const sent = [...request.form.elements].filter((field) => "unsavedGuard" in field.dataset && request.body.has(field.name));
  if (sent.some((field) => field.dataset.fresh) && cookiesAreRefused()) {
    request.form.querySelector(".result")?.replaceChildren();
    errorPlace(request.form).textContent =
      "Your browser refuses cookies, so the server cannot find your text again. Allow cookies for this site, then save again.";
    return;
  }
  for (const field of sent) {
    noteSaved(field, request.body.get(field.name));
    delete field.etag; // of the text before this save
  }
});

// When the tab is shown again, fetch the saved text. Without an answer, change nothing.

let turn = 0; // ignore an answer if a later request has asked for the text or changed it
const countSave = ({ detail: { ctx } }) => {
  if (ctx.request.method !== "GET") turn += 1;
};
document.addEventListener("htmx:config:request", countSave);
document.addEventListener("htmx:finally:request", countSave);

const refresh = async (field, mine) => {
  const answer = await fetch(field.dataset.fresh, { headers: { "If-None-Match": field.etag ?? "" } });
  const saved = await answer.text();
  if (answer.status !== 200 || mine !== turn || !field.isConnected) return;
  field.etag = answer.headers.get("ETag");
  const result = field.form?.querySelector(".result");
  if (!isUnsaved(field)) {
    if (saved !== field.value && result) result.textContent = "Updated to what the server has now.";
    field.value = saved;
  } else if (saved !== field.value && saved !== field.defaultValue) {
    result?.replaceChildren();
    return letVisitorChoose(field, saved);
  }
  noteSaved(field, saved);
};

const letVisitorChoose = (field, saved) => {
  const name = field.dataset.freshName ?? "text";
  const choose = (value) => {
    noteSaved(field, saved);
    field.value = value;
    sayUnsaved(field);
    field.focus();
  };
  field.notice?.remove();
  field.notice = make(
    "section",
    { className: "changed", ariaLabel: `The server has another ${name}` },
    make("p", { role: "alert" }, `Meanwhile the server has another ${name}, shown below. What you typed is still here, but not saved.`),
    make("blockquote", {}, saved),
    make("button", { type: "button", onclick: () => choose(field.value) }, "Keep mine"),
    make("button", { type: "button", onclick: () => choose(saved) }, "Show the server’s"),
  );
  (field.labels[0] ?? field).before(field.notice);
  field.notice.scrollIntoView({ block: "nearest" });
};

let away = document.hidden;
const leave = () => {
  away = true;
};
const comeBack = () => {
  if (!away || document.hidden) return;
  away = false;
  document.body.dispatchEvent(new Event("shown-again")); // for hx-trigger="shown-again from:body"
  turn += 1;
  for (const field of all("[data-fresh]")) {
    if (!("unsaved" in field.dataset)) refresh(field, turn).catch(() => {});
  }
};
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : comeBack()));
window.addEventListener("blur", leave);
window.addEventListener("focus", comeBack); // for windows side by side, which are never hidden

// Back and Forward may show a page as it was left, without asking the server (bfcache; no-store does not prevent it).
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  mayLeave = true; // the visitor was already asked about unsaved text
  location.reload();
});
// Such a page is visible for a moment before it reloads, so hide it when the visitor leaves.
window.addEventListener("pagehide", () => {
  leaving = true;
  document.documentElement.hidden = true;
});

// htmx has started before this script, and perhaps before its extension was loaded, so let it process the page again.
htmx.process(document.body, true);
