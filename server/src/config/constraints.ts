import type { Environment, Settings } from "./declarations.js";
import { formatSize } from "./quantities.js";

const MiB = 1 << 20;

/** A block's footer holds one checksum a segment; 1 GiB keeps it at 4 KiB and a block's fill bearable. */
const MAX_BLOCK_BYTES = 1024 * MiB;

/** What is wrong between settings that are each right by themselves: one clause for each. */
export function constraintProblems(settings: Settings, environment: Environment): string[] {
  const problems = [...fillProblems(settings), ...volumeProblems(settings), ...memberProblems(settings)];
  return [...problems, ...tlsProblems(settings), ...originProblems(settings, environment)];
}

function tlsProblems({ tlsCert, tlsKey, tlsCa, tlsServerName }: Settings): string[] {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) return ["--tls-cert and --tls-key belong together: set both or none"];
  const given = [tlsCa && "--tls-ca", tlsServerName && "--tls-server-name"].filter((flag) => flag !== undefined);
  return tlsCert === undefined ? given.map((flag) => `${flag} needs --tls-cert and --tls-key: set them too`) : [];
}

function originProblems({ origins = [] }: Settings, environment: Environment): string[] {
  return origins.flatMap(({ credentials, buckets: [first] }) => {
    if (typeof credentials === "string" || !("keys" in credentials)) return [];
    const missing = Object.values(credentials.keys).filter((name) => name !== undefined && !environment[name]);
    const bucket = `${first!.scheme}://${first!.bucket}`;
    return missing.map((name) => `--origins: the keys of ${bucket} should be in ${name}, which is not set: set it`);
  });
}

function fillProblems({ blockBytes, partBytes, fillMemoryBytes }: Settings): string[] {
  const problems: string[] = [];
  if (blockBytes % MiB !== 0 || blockBytes > MAX_BLOCK_BYTES) {
    problems.push(`--block-size ${formatSize(blockBytes)}: write a multiple of 1MiB up to ${formatSize(MAX_BLOCK_BYTES)}`);
  }
  if (partBytes % MiB !== 0 || partBytes > blockBytes) {
    problems.push(`--part-size ${formatSize(partBytes)}: write a multiple of 1MiB up to --block-size ${formatSize(blockBytes)}`);
  }
  if (partBytes > fillMemoryBytes / 2) {
    problems.push(
      `--fill-memory ${formatSize(fillMemoryBytes)} holds less than two parts: write at least ${formatSize(2 * partBytes)}`,
    );
  }
  return problems;
}

function volumeProblems({ lowWatermark, highWatermark, cacheDirs, blockBytes }: Settings): string[] {
  const problems: string[] = [];
  if (lowWatermark >= highWatermark) {
    const [low, high] = [lowWatermark, highWatermark].map((share) => Number((share * 100).toFixed(3)));
    problems.push(`--low-watermark ${low} is not below --high-watermark ${high}: write a smaller one`);
  }
  for (const { path, limitBytes } of cacheDirs) {
    if (limitBytes !== undefined && limitBytes < blockBytes) {
      problems.push(`--cache-dirs ${path}:${formatSize(limitBytes)} holds no block of ${formatSize(blockBytes)}: give it more`);
    }
  }
  return problems;
}

function memberProblems({ discovery, members, name }: Settings): string[] {
  if (discovery === "static" && members.length === 0) return ["--discovery static needs --members: name them, or write none"];
  const unused = discovery === "kubernetes" || discovery === "none";
  if (unused && members.length > 0) return [`--members is not used by --discovery ${discovery}: leave one of them out`];
  if (members.length > 0 && members.every((member) => member.name !== name)) {
    return [`--members does not name this member, ${name}: add it, or set --name`];
  }
  return [];
}
