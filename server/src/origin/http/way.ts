import { BlockList, isIP } from "node:net";
import type { SecureContext } from "node:tls";
import type { HttpClientOptions } from "@frontcache/client/http";

/** How connections reach an origin. */
export interface Way {
  /** The proxy for a target, by its protocol, host and port; undefined: a direct connection. */
  proxyOf(target: URL): URL | undefined;
  /** The certificate authorities to trust; undefined: Node's, those of NODE_EXTRA_CA_CERTS included. */
  readonly secureContext: SecureContext | undefined;
  /** Returns how to send a request past the stream of a socket without TLS. Absent: it goes through the stream. */
  readonly directSend?: HttpClientOptions["directSend"];
}

/** Without a proxy, with Node's authorities. */
export const DIRECT: Way = { proxyOf: () => undefined, secureContext: undefined };

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Chooses proxies by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in either case. NO_PROXY is a list of hosts, each with its subdomains,
 * IP addresses and ranges (10.0.0.0/8), each with an optional port, or `*`. Throws if a proxy's URL is invalid.
 */
export function proxiesOf(environment: Environment): Way["proxyOf"] {
  const read = (name: string) => environment[name.toLowerCase()] || environment[name] || undefined;
  const proxies = new Map<string, URL>();
  for (const [protocol, name] of [
    ["https:", "HTTPS_PROXY"],
    ["http:", "HTTP_PROXY"],
  ] as const) {
    const text = read(name);
    if (text !== undefined) proxies.set(protocol, proxyUrl(name, text));
  }
  const exceptions = (read("NO_PROXY") ?? "").split(/[\s,]+/).filter((entry) => entry !== "");
  if (proxies.size === 0) return DIRECT.proxyOf;
  return (target) => (exceptions.some((entry) => matches(entry, target)) ? undefined : proxies.get(target.protocol));
}

function proxyUrl(name: string, text: string): URL {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  // Not quoted: it may contain a password.
  if (url?.protocol !== "http:" && url?.protocol !== "https:")
    throw new Error(`${name} is not a URL of a proxy: use http://host:port`);
  return url;
}

function matches(entry: string, target: URL): boolean {
  if (entry === "*") return true;
  const host = hostOf(target);
  const range = /^(.+)\/(\d{1,3})$/.exec(entry);
  if (range !== null) return isInRange(host, range[1]!, Number(range[2]));
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]*|.*:.*:.*?))(?::(\d+))?$/.exec(entry) ?? [];
  if (port !== undefined && port !== portOf(target)) return false;
  const name = (bracketed ?? plain ?? "").toLowerCase().replace(/^\*?\./, "");
  return name !== "" && (host === name || (isIP(host) === 0 && host.endsWith(`.${name}`)));
}

function isInRange(host: string, network: string, bits: number): boolean {
  const family = isIP(network);
  if (family === 0 || isIP(host) !== family || bits > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? "ipv4" : "ipv6";
  const list = new BlockList();
  list.addSubnet(network, bits, type);
  return list.check(host, type);
}

/** The host without brackets, and without the dot that may end a name. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
}

export function portOf({ protocol, port }: URL): string {
  return port !== "" ? port : protocol === "https:" ? "443" : "80";
}
