export interface DemoMember {
  readonly grpc: string;
  readonly http: string;
}

export function commandsFor(
  member: DemoMember,
  url: string,
): { readonly frontcache: string[][]; readonly curl: string[]; readonly statusPage: string };

export function textFor(member: DemoMember, origin: { readonly endpoint: string }, url: string): string;
