// The status page: hears of the cluster by server-sent events and shows each report.

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
    <p>${count(answering)} of ${count(report.members.length)} members answer; told by ${report.member}${version ? `, version ${version}` : ""}</p>
    <p role="status" class=${connected ? "live" : "lost"}>${connected ? "live" : "connection lost, trying again"}</p>
  </header>`;
}

function show() {
  if (report === undefined) return;
  document.title = `frontcache \u00b7 ${report.member}`;
  render(
    html`<${Header} />
      <main>
        <${Tiles} report=${report} history=${history} />
        <${Lines} history=${history} />
        <${Members} report=${report} history=${history} />
        <${Hottest} report=${report} />
        <${Errors} report=${report} />
      </main>
      <footer>The same as JSON: <a href="/status">/status</a>. For Prometheus: <a href="/metrics">/metrics</a>.</footer>`,
    place,
  );
}

/** A browser tries again by itself while nobody answers, but gives up for good where it is refused: a member that starts, or other tokens. */
const AGAIN_AFTER_MS = 5_000;

function listen() {
  const events = new EventSource("/status/events");
  events.onmessage = ({ data }) => {
    report = JSON.parse(data);
    connected = true;
    history.add(report);
    // The page before the first report is no part of what is drawn.
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
