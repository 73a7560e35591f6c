/** Values in signed URLs and headers that must not get into a log. */
const SECRET = /((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId|access_token)=)[^&\s"'<>]+/gi;

/** One line of a cause and of the causes behind it, without the secrets of signed URLs; `withStack`: with their stacks. */
export function describeCause(cause: unknown, withStack = false): string | undefined {
  if (cause === undefined) return undefined;
  if (!(cause instanceof Error)) return String(cause).replace(SECRET, "$1...");
  const behind = describeCause(cause.cause, withStack);
  const line = (withStack ? (cause.stack ?? cause.message) : cause.message).replace(SECRET, "$1...");
  return behind === undefined ? line : `${line}; caused by: ${behind}`;
}
