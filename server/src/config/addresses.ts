import { isListenerAddress, type MemberInfo, socketPathOf } from "@frontcache/proto";
import { type Parser, wrong } from "./parser.js";

/** A network address; `host` is without the brackets of IPv6. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

function parseHostPort(text: string, minPort: number): HostPort {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || !(port >= minPort && port <= 65_535)) {
    throw wrong(text, "an address", `host:port with a port from ${minPort} to 65535, IPv6 as [::1]:8080`);
  }
  return { host, port };
}

/** A TCP address to listen on; port 0 picks a free one. */
export const listenPort: Parser<HostPort> = { unit: "host:port", parse: (text) => parseHostPort(text, 0) };

/** An address to connect to. */
export const remoteAddress: Parser<HostPort> = { unit: "host:port", parse: (text) => parseHostPort(text, 1) };

/** The TCP address of the S3 endpoint if none is configured. */
export const DEFAULT_S3_LISTEN: HostPort = { host: "::", port: 9_000 };

/** An address that a client connects to: `host:port` or `unix:/path`. */
export const endpointAddress: Parser<string> = {
  unit: "host:port|unix:/path",
  parse(text) {
    if (isListenerAddress(text) && (socketPathOf(text) !== undefined || remoteAddress.parse(text).port > 0)) return text;
    throw wrong(text, "an address", "host:port with a port from 1 to 65535, IPv6 as [::1]:8080, or unix:/path");
  },
};

/** What `parser` takes, or the word none. */
export function orNone<T>(parser: Parser<T>): Parser<T | "none"> {
  return { unit: `${parser.unit}|none`, parse: (text) => (text === "none" ? text : parser.parse(text)) };
}

/** DNS names separated by commas, in lower case; empty text: none. */
export const domains: Parser<readonly string[]> = {
  unit: "domain,...",
  parse(text) {
    if (text === "") return [];
    return text.split(",").map((each) => {
      const domain = each.trim().toLowerCase();
      if (/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(domain)) return domain;
      throw wrong(each.trim(), "a domain", "a DNS name without a port, as in s3.example.com");
    });
  },
};

/** The text of an address, IPv6 in brackets. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A host without a port; IPv6 with or without brackets. */
export const hostName: Parser<string> = {
  unit: "host",
  parse(text) {
    const [, bracketed, plain] = /^(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([^\s/[\],]+))$/.exec(text) ?? [];
    const host = bracketed ?? plain;
    const isPort = host !== undefined && /^[^:]*:\d+$/.test(host);
    if (host === undefined || isPort) throw wrong(text, "a host", "a name or an address, without a port");
    return host;
  },
};

/** A member list separated by commas, each `name=host:grpcPort` or `name=host:grpcPort/httpPort`; empty text: no members. */
export const members: Parser<readonly MemberInfo[]> = {
  unit: "name=host:port[/port],...",
  parse(text) {
    const list = text === "" ? [] : text.split(",").map((part) => parseMember(part.trim()));
    const twice = list.find((each, at) => list.findIndex((other) => other.name === each.name) !== at);
    if (twice !== undefined) throw new Error(`the member ${twice.name} appears twice: use each name once`);
    return list;
  },
};

function parseMember(text: string): MemberInfo {
  const [, name, grpc, http] = /^([^\s=]+)=([^\s=]+?:\d+)(?:\/(\d+))?$/.exec(text) ?? [];
  if (name === undefined || grpc === undefined) throw wrong(text, "a member", "name=host:grpcPort/httpPort");
  const { host, port } = remoteAddress.parse(grpc);
  const grpcAddress = formatHostPort({ host, port });
  if (http === undefined) return { name, grpcAddress };
  const httpAddress = formatHostPort({ host, port: Number(http) });
  remoteAddress.parse(httpAddress);
  return { name, grpcAddress, httpAddress };
}
