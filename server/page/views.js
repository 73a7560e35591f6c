// The views of a report.

import { html } from "htm/preact";
import { age, bytes, count, duration, rate, share } from "#format";
import { answered, line, sum } from "#history";

function Tile({ name, value, more, children }) {
  return html`<div><dt>${name}</dt><dd id=${`tile-${more}`}>${value}<small>${children}</small></dd></div>`;
}

/** The totals of the cluster. */
export function Tiles({ report, history }) {
  const cached = sum(report, ({ reads }) => reads.hit.count + reads.stale.count);
  const own = cached + sum(report, ({ reads }) => reads.joined.count + reads.filled.count);
  const served = sum(report, ({ servedBytes }) => servedBytes);
  const saved = sum(report, ({ savedBytes }) => savedBytes);
  const fills = sum(report, (member) => member.fills.running);
  const failed = sum(report, ({ readErrors }) => Object.values(readErrors).reduce((total, one) => total + one, 0));
  const { total } = history;
  return html`<dl class="tiles">
    <${Tile} name="Hit ratio" more="hits" value=${share(own === 0 ? undefined : cached / own)}>${count(own)} reads<//>
    <${Tile} name="Served" more="served" value=${rate(total.served)}>${bytes(served)} since the start<//>
    <${Tile} name="From the origin" more="origin" value=${rate(total.origin)}>${bytes(sum(report, ({ origin }) => origin.bytes))} since the start<//>
    <${Tile} name="Served from cache" more="saved" value=${share(served === 0 ? undefined : saved / served)}>${bytes(saved)} since the start<//>
    <${Tile} name="Fills" more="fills" value=${count(fills)}>${count(sum(report, (member) => member.fills.waitingParts))} parts waiting<//>
    <${Tile} name="Failed reads" more="failed" value=${count(failed)}>${count(sum(report, ({ corruptions }) => corruptions))} corruptions repaired<//>
  </dl>`;
}

/** Throughput of the last five minutes, as far as the page has been open. */
export function Lines({ history }) {
  const { points, total } = history;
  const most = points.reduce((top, { served, origin }) => Math.max(top, served, origin), 0);
  const text = `Now ${rate(total.served)} served, ${rate(total.origin)} from the origin; maximum ${rate(most)}.`;
  return html`<section class="card" aria-labelledby="lines-title">
    <h2 id="lines-title">Throughput</h2>
    <ul class="legend"><li>served</li><li class="origin">from the origin</li></ul>
    <div class="chart">
      <ol class="scale" aria-hidden="true">${(most === 0 ? [0] : [most, most / 2, 0]).map((value) => html`<li>${rate(value)}</li>`)}</ol>
      <svg class="lines" viewBox="0 0 300 100" preserveAspectRatio="none" role="img" aria-label=${text}>
        <path class="grid" d="M0 4H300M0 51H300M0 98H300" />
        <path class="origin" d=${line(
          points.map(({ origin }) => origin),
          most,
        )} />
        <path class="served" d=${line(
          points.map(({ served }) => served),
          most,
        )} />
      </svg>
      <p class="times" aria-hidden="true"><span>5 min ago</span><span>now</span></p>
    </div>
  </section>`;
}

function Volumes({ volumes }) {
  return volumes.map(
    ({ path, usedBytes, limitBytes, state }) => html`<div key=${path}>
      <span class="volume"><meter min="0" max=${limitBytes} value=${usedBytes} high=${0.95 * limitBytes} title=${path} aria-label=${`${path}, used`}></meter>
      ${" "}${bytes(usedBytes)} of ${bytes(limitBytes)}</span>${state === "ok" ? "" : html`<small class="state bad">${path}: ${state}</small>`}
    </div>`,
  );
}

/** What the buckets of values use of a member's volumes. Members of earlier releases do not report it. */
function Buckets({ buckets }) {
  return (buckets ?? []).map(
    ({ url, usedBytes, limitBytes, isPinned }) => html`<small key=${url}>
      ${url}: ${bytes(usedBytes)}${limitBytes === undefined ? "" : ` of ${bytes(limitBytes)}`}${isPinned ? ", pinned" : ""}
    </small>`,
  );
}

const HEADINGS = ["Member", "State", "Ring", "Hit ratio", "Served", "Volumes", "Fills", "Loop delay p99", "Up"];

/** A member list that was not confirmed for longer is shown. Watches of the Kubernetes API are renewed every half minute. */
const OLD_LIST_MS = 60_000;

/** Why a member is not ready or not up to date. */
function reasonsOf({ report, problem }) {
  const listAge = report?.membershipAgeMs ?? 0;
  return [
    ...(problem === undefined ? [] : [problem]),
    ...(report?.notReady ?? []),
    ...(listAge > OLD_LIST_MS ? [`member list ${age(listAge)} old`] : []),
  ];
}

function MemberRow({ member, rates }) {
  const { name, grpcAddress, ringShare, report, state } = member;
  const reasons = reasonsOf(member);
  const cells =
    report === undefined
      ? ["\u2013", "\u2013", "\u2013", "\u2013", "\u2013", "\u2013"]
      : [
          share(report.hitRatio),
          html`<span>${rate(rates?.served ?? 0)}<small>${count(rates?.reads ?? 0)} reads/s</small></span>`,
          html`<div><${Volumes} volumes=${report.volumes} /><${Buckets} buckets=${report.buckets} /></div>`,
          count(report.fills.running),
          duration(report.eventLoopDelayMs.p99),
          age(report.atMs - report.startedAtMs),
        ];
  return html`<tr id=${`member-${name}`}>
    <td data-label="Member"><span><strong>${name}</strong><small>${grpcAddress}</small></span></td>
    <td data-label="State" class=${`state ${state === "ready" ? "ok" : "bad"}`}><span>${state}${reasons.map((reason) => html`<small>${reason}</small>`)}</span></td>
    <td data-label="Ring" class="number">${share(ringShare)}</td>
    ${cells.map((cell, at) => html`<td data-label=${HEADINGS[at + 3]} class=${at === 2 ? "" : "number"}>${cell}</td>`)}
  </tr>`;
}

/** A row for each member of the ring. */
export function Members({ report, history }) {
  return html`<section class="card" aria-labelledby="members-title">
    <h2 id="members-title">Members</h2>
    <div class="scroll"><table class="stacks">
      <thead><tr>${HEADINGS.map((heading, at) => html`<th scope="col" class=${at > 1 && at !== 5 ? "number" : ""}>${heading}</th>`)}</tr></thead>
      <tbody>${report.members.map((member) => html`<${MemberRow} key=${member.name} member=${member} rates=${history.rates.get(member.name)} />`)}</tbody>
    </table></div>
  </section>`;
}

/** The most read objects of all members. */
export function Hottest({ report }) {
  const byUrl = new Map();
  for (const { url, reads, bytes: read } of answered(report).flatMap(({ hottest }) => hottest)) {
    const known = byUrl.get(url) ?? { url, reads: 0, read: 0 };
    byUrl.set(url, { url, reads: known.reads + reads, read: known.read + read });
  }
  const top = [...byUrl.values()].sort((a, b) => b.reads - a.reads).slice(0, 10);
  return html`<section class="card" aria-labelledby="hottest-title">
    <h2 id="hottest-title">Most read objects, last minutes</h2>
    ${
      top.length === 0
        ? html`<p class="empty">No reads in the last minutes.</p>`
        : html`<div class="scroll"><table><thead><tr><th scope="col">Object</th><th scope="col" class="number">Reads</th><th scope="col" class="number">Bytes</th></tr></thead>
      <tbody>${top.map(({ url, reads, read }) => html`<tr key=${url}><td class="url">${url}</td><td class="number">${count(reads)}</td><td class="number">${bytes(read)}</td></tr>`)}</tbody></table></div>`
    }
  </section>`;
}

/** The latest errors of all members. */
export function Errors({ report }) {
  const errors = answered(report)
    .flatMap(({ name, recentErrors }) => recentErrors.map((error) => ({ ...error, name })))
    .sort((a, b) => b.atMs - a.atMs)
    .slice(0, 10);
  return html`<section class="card" aria-labelledby="errors-title">
    <h2 id="errors-title">Recent errors</h2>
    ${
      errors.length === 0
        ? html`<p class="empty">No failed reads.</p>`
        : html`<div class="scroll"><table><thead><tr><th scope="col">Error</th><th scope="col" class="number">Member and time</th></tr></thead>
      <tbody>${errors.map(
        ({ atMs, name, code, message }) => html`<tr>
          <td class="url"><strong>${code}</strong><small>${message}</small></td>
          <td class="number">${name}<small><time datetime=${new Date(atMs).toISOString()}>${age(report.atMs - atMs)} ago</time></small></td>
        </tr>`,
      )}</tbody></table></div>`
    }
  </section>`;
}
