/** Secrets in signed URLs and headers, which must not be logged. */
const SECRET = /((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId|access_token)=)[^&\s"'<>]+/gi;

/** Formats an error and its causes on one line, without the secrets of signed URLs. `withStack`: includes their stacks. */
export function describeCause(cause: unknown, withStack = false): string | undefined {
  if (cause === undefined) return undefined;
  if (!(cause instanceof Error)) return String(cause).replace(SECRET, "$1...");
  const behind = describeCause(cause.cause, withStack);
  const line = (withStack ? (cause.stack ?? cause.message) : cause.message).replace(SECRET, "$1...");
  return behind === undefined ? line : `${line}; caused by: ${behind}`;
}
