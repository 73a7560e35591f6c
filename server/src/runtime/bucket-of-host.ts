/** The bucket of a virtual host: the part before the longest domain. Undefined: the path begins with the bucket. */
export function bucketOfHost(host: string, domains: readonly string[]): string | undefined {
  if (domains.length === 0) return undefined;
  const name = host.replace(/:\d*$/, "").toLowerCase();
  let bucket: string | undefined;
  for (const domain of domains) {
    if (name === domain) return undefined;
    if (!name.endsWith(domain) || name[name.length - domain.length - 1] !== ".") continue;
    const before = name.slice(0, -domain.length - 1);
    if (bucket === undefined || before.length < bucket.length) bucket = before;
  }
  return bucket;
}
