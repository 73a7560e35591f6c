import { readFileSync } from "node:fs";
import { CacheError, parsePrefixUrl, urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { type BucketPattern, bucketPatterns } from "../config/bucket-pattern.js";
import { declarations, variableOf } from "../config/declarations.js";
import { Problems } from "../config/mapping-reader.js";
import { Authorization } from "../security/grants/authorization.js";
import { ANONYMOUS_NAME, type Operation, operations } from "../security/grants/grants.js";
import { type Identities, parseIdentities } from "../security/identities/identities-file.js";
import { ANONYMOUS, clientPrincipal, type Principal } from "../security/principal.js";
import { asUsage } from "./client-options.js";
import { UsageError } from "./exit-code.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";

interface CheckFlags extends JsonFlags {
  readonly identitiesFile?: string;
  readonly allowBucket?: readonly string[];
  readonly as: string;
  readonly group?: readonly string[];
}

/** `frontcache grants`: explains what an identities file grants. */
export function addGrants(program: Command): void {
  const grants = program
    .command("grants")
    .summary("explain what an identities file grants")
    .description("Explains what an identities file grants.");
  const check = grants
    .command("check")
    .summary("explain whether a principal may do something")
    .description(
      "Explains whether a principal may do something, by an identities file. It is the decision that members make. Ends with 1 if it is denied, or the file is invalid.",
    )
    .argument("<operation>", operations.join(", "))
    .argument("[url]", `${urlForms("bucket/key")}, or the beginning of such URLs: all objects below it; not for status`)
    .option("--identities-file <path>", `the file (default: ${variableOf(declarations.identitiesFile)})`)
    .option(
      "--allow-bucket <pattern...>",
      `buckets that members serve, as their setting (default: ${variableOf(declarations.allowBucket)}, or all)`,
    )
    .requiredOption("--as <name>", `the principal: an identity, ${ANONYMOUS_NAME}, or the name that a token of an issuer proves`)
    .option("--group <name...>", "a further group of the principal, such as those in a token")
    .addHelpText(
      "after",
      "\nExample:\n  frontcache grants check --identities-file identities.yaml --as ada read s3://datasets/key",
    );
  addJsonOption(check).action(checkGrant);
}

function checkGrant(operationName: string, url: string | undefined, flags: CheckFlags): void {
  const operation = operations.find((each) => each === operationName);
  if (operation === undefined) throw new UsageError(`${operationName} is no operation: use ${operations.join(", ")}`);
  const identities = readIdentities(flags);
  const principal = principalOf(flags, identities);
  const authorization = new Authorization({ buckets: allowedBuckets(flags), grants: () => identities.grants });
  const { isAllowed, reason } = decide(authorization, principal, operation, url);
  if (!isAllowed) throw new CacheError("PERMISSION_DENIED", reason);
  printFields({ decision: "allowed", reason }, flags);
}

function decide(authorization: Authorization, principal: Principal, operation: Operation, url: string | undefined) {
  if (operation === "status") return authorization.decideCluster(principal, operation);
  if (url === undefined) throw new UsageError(`${operation} needs a URL: ${urlForms("bucket/key")}`);
  const { scheme, bucket, prefix } = asUsage(undefined, () => parsePrefixUrl(url));
  return authorization.decide(principal, operation, { bucket: { scheme, bucket }, prefix });
}

function allowedBuckets({ allowBucket }: CheckFlags): readonly BucketPattern[] | undefined {
  const patterns = allowBucket?.join(",") ?? process.env[variableOf(declarations.allowBucket)];
  return patterns ? asUsage("--allow-bucket", () => bucketPatterns.parse(patterns)) : undefined;
}

function readIdentities({ identitiesFile = process.env[variableOf(declarations.identitiesFile)] }: CheckFlags): Identities {
  if (!identitiesFile) throw new UsageError("no file given: use --identities-file");
  let content: string;
  try {
    content = readFileSync(identitiesFile, "utf8");
  } catch (error) {
    throw new UsageError(`${identitiesFile} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return parseIdentities(content);
  } catch (error) {
    if (error instanceof Problems) throw new Error(`${identitiesFile}: ${error.message}`);
    throw error;
  }
}

/** The principal that a name means. The way in which it was authenticated does not matter. */
function principalOf({ as: name, group = [] }: CheckFlags, { groupsOf }: Identities): Principal {
  if (name === ANONYMOUS_NAME) return ANONYMOUS;
  return clientPrincipal(name, "token", [...(groupsOf.get(name) ?? []), ...group]);
}
