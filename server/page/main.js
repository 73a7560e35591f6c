// The status page: receives reports of the cluster as server-sent events and shows them.

import { html, render } from "htm/preact";
import { count } from "#format";
import { History } from "#history";
import { Errors, Hottest, Lines, Members, Tiles } from "#views";

const place = document.getElementById("page");
const history = new History();
let report;
let connected = true;

function Header() {
  const answering = report.members.filter((member) => member.report !== undefined).length;
  const { version } = report.members.find(({ name }) => name === report.member)?.report ?? {};
  return html`<header>
    <h1>frontcache</h1>
    <p>Members answering: ${count(answering)} of ${count(report.members.length)}; reported by ${report.member}${version ? `, version ${version}` : ""}</p>
    <p role="status" class=${connected ? "live" : "lost"}>${connected ? "live" : "connection lost, reconnecting"}</p>
  </header>`;
}

function show() {
  if (report === undefined) return;
  document.title = `frontcache \u00b7 ${report.member}`;
  render(
    html`<${Header} />
      <main class=${connected ? "" : "outdated"}>
        <${Tiles} report=${report} history=${history} />
        <${Lines} history=${history} />
        <${Members} report=${report} history=${history} />
        <${Hottest} report=${report} />
        <${Errors} report=${report} />
      </main>
      <footer>JSON: <a href="/status">/status</a>. Prometheus: <a href="/metrics">/metrics</a>.</footer>`,
    place,
  );
}

/** Browsers reconnect after a lost connection, but not after an error response: from a starting member, or after a change of tokens. */
const AGAIN_AFTER_MS = 5_000;

function listen() {
  const events = new EventSource("/status/events");
  events.onmessage = ({ data }) => {
    report = JSON.parse(data);
    connected = true;
    history.add(report);
    // Removes the placeholder before the first report.
    if (place.querySelector(".waiting")) place.replaceChildren();
    show();
  };
  events.onerror = () => {
    connected = false;
    show();
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_AFTER_MS);
  };
}

listen();
