/** Codes of Node's for a certificate that does not verify. */
const CODE =
  /^(?:(?:ERR_TLS_)?CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(?:GET|VERIFY|DECRYPT)_|INVALID_(?:CA|PURPOSE)|HOSTNAME_MISMATCH)/;

/** What to do about a server whose certificate does not verify, with the code; undefined for all other errors. */
export function certificateProblem(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  if (typeof code !== "string" || !CODE.test(code)) return undefined;
  return `the origin's certificate is not trusted (${code}): name its authority by \`ca\` in the origins file, AWS_CA_BUNDLE (S3) or NODE_EXTRA_CA_CERTS`;
}

/** Codes of Node's and OpenSSL's for a connection on which no TLS came about. */
const TLS_CODE = /^(?:EPROTO$|ERR_SSL_|ERR_TLS_)/;

/** Whether an error, or one of its causes, is a failure of TLS: an untrusted certificate, or a server that speaks no TLS. */
export function isTlsFailure(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { readonly code?: unknown };
    if (typeof code === "string" && (CODE.test(code) || TLS_CODE.test(code))) return true;
  }
  return false;
}
