import type { Environment, Settings } from "./declarations.js";
import { formatSize } from "./quantities.js";

const MiB = 1 << 20;

/** The footer of a block contains one checksum per segment: 4 KiB for 1 GiB. */
const MAX_BLOCK_BYTES = 1024 * MiB;

/** Conflicts between settings that are valid on their own: one clause for each. */
export function constraintProblems(settings: Settings, environment: Environment): string[] {
  const problems = [...fillProblems(settings), ...volumeProblems(settings), ...memberProblems(settings)];
  problems.push(...writeProblems(settings), ...valueProblems(settings));
  return [...problems, ...tlsProblems(settings), ...originProblems(settings, environment)];
}

function writeProblems({ writes, identitiesFile }: Settings): string[] {
  if (writes === "on" && identitiesFile === undefined) {
    return ["--writes on requires --identities-file, which says who may write; use --writes anonymous if every client may"];
  }
  return [];
}

/** The buckets of the interfaces of other systems. */
export const ELCACHE_BUCKET = "elcache";
export const FILESTORE_BUCKET = "filestore";

function valueProblems(settings: Settings): string[] {
  const { elcacheListen, filestoreListen, cacheBucket } = settings;
  const needed = [
    { flag: "--elcache-listen", at: elcacheListen, bucket: ELCACHE_BUCKET },
    { flag: "--filestore-listen", at: filestoreListen, bucket: FILESTORE_BUCKET },
  ].filter(({ at, bucket }) => at !== undefined && cacheBucket.every(({ name }) => name !== bucket));
  const unmet = needed.map(({ flag, bucket }) => `${flag} requires --cache-bucket ${bucket}, at all members`);
  return [...unmet, ...shareProblems(settings)];
}

/** Pinned buckets leave space for what can be evicted: otherwise members could cache nothing else. */
function shareProblems({ cacheBucket, cacheDirs, blockBytes, lowWatermark }: Settings): string[] {
  const problems: string[] = [];
  const totalBytes = cacheDirs.reduce((sum, { limitBytes = Number.POSITIVE_INFINITY }) => sum + limitBytes, 0);
  let pinned = 0;
  for (const { name, share, isPinned } of cacheBucket) {
    if (share === undefined) continue;
    const bytes = "bytes" in share ? share.bytes : share.fraction * totalBytes;
    if (bytes < blockBytes) {
      problems.push(
        `--cache-bucket ${name}: its share is smaller than one block of ${formatSize(blockBytes)}: use a larger share`,
      );
    }
    if (bytes > totalBytes) {
      problems.push(
        `--cache-bucket ${name}: its share is larger than --cache-dirs, ${formatSize(totalBytes)}: use a smaller share`,
      );
    }
    if (isPinned) pinned += "fraction" in share ? share.fraction : share.bytes / totalBytes;
  }
  if (pinned > lowWatermark) {
    const percent = (fraction: number): number => Number((fraction * 100).toFixed(1));
    problems.push(
      `--cache-bucket: pinned buckets have ${percent(pinned)} % of --cache-dirs, more than --low-watermark ${percent(lowWatermark)}: use smaller shares`,
    );
  }
  return problems;
}

function tlsProblems({ tlsCert, tlsKey, tlsCa, tlsServerName, membersName }: Settings): string[] {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) return ["--tls-cert and --tls-key must be set together"];
  if (membersName !== undefined && tlsCa === undefined) return ["--members-name requires --tls-ca"];
  const given = [tlsCa && "--tls-ca", tlsServerName && "--tls-server-name"].filter((flag) => flag !== undefined);
  return tlsCert === undefined ? given.map((flag) => `${flag} requires --tls-cert and --tls-key`) : [];
}

function originProblems({ origins = [] }: Settings, environment: Environment): string[] {
  return origins.flatMap(({ credentials, buckets: [first] }) => {
    if (typeof credentials === "string" || !("keys" in credentials)) return [];
    const missing = Object.values(credentials.keys).filter((name) => name !== undefined && !environment[name]);
    const bucket = `${first!.scheme}://${first!.bucket}`;
    return missing.map((name) => `--origins: the environment variable ${name} with a key of ${bucket} is not set`);
  });
}

function fillProblems({ blockBytes, partBytes, fillMemoryBytes }: Settings): string[] {
  const problems: string[] = [];
  if (blockBytes % MiB !== 0 || blockBytes > MAX_BLOCK_BYTES) {
    problems.push(`--block-size ${formatSize(blockBytes)}: use a multiple of 1MiB up to ${formatSize(MAX_BLOCK_BYTES)}`);
  }
  if (partBytes % MiB !== 0) problems.push(`--part-size ${formatSize(partBytes)}: use a multiple of 1MiB`);
  if (partBytes > fillMemoryBytes / 2) {
    problems.push(
      `--fill-memory ${formatSize(fillMemoryBytes)} is smaller than two parts: use at least ${formatSize(2 * partBytes)}`,
    );
  }
  return problems;
}

function volumeProblems({ lowWatermark, highWatermark, cacheDirs, blockBytes }: Settings): string[] {
  const problems: string[] = [];
  if (lowWatermark >= highWatermark) {
    const [low, high] = [lowWatermark, highWatermark].map((share) => Number((share * 100).toFixed(3)));
    problems.push(`--low-watermark ${low} must be less than --high-watermark ${high}`);
  }
  for (const { path, limitBytes } of cacheDirs) {
    if (limitBytes !== undefined && limitBytes < blockBytes) {
      problems.push(
        `--cache-dirs ${path}:${formatSize(limitBytes)} is smaller than one block of ${formatSize(blockBytes)}: use a larger size`,
      );
    }
  }
  return problems;
}

function memberProblems({ discovery, members, name }: Settings): string[] {
  if (discovery === "static" && members.length === 0) return ["--discovery static requires --members"];
  const unused = discovery === "kubernetes" || discovery === "none";
  if (unused && members.length > 0) return [`--members cannot be used with --discovery ${discovery}`];
  if (members.length > 0 && members.every((member) => member.name !== name)) {
    return [`--members does not contain this member, ${name}: add it, or set --name`];
  }
  return [];
}
