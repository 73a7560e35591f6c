/** RFC 7617, without the name's and the password's own limits: what the token may be is for the door to say. */
const FORM = /^Basic +([A-Za-z0-9+/]+=*)$/i;

/**
 * The Authorization header that says by `Bearer` what a browser can only say by `Basic`: the token is the password, whatever
 * the name. Undefined where the header is of another kind.
 */
export function bearerOfBrowser(authorization: string | undefined): string | undefined {
  const coded = FORM.exec(authorization ?? "")?.[1];
  if (coded === undefined) return undefined;
  const shown = Buffer.from(coded, "base64").toString("latin1");
  const colon = shown.indexOf(":");
  return colon < 0 ? undefined : `Bearer ${shown.slice(colon + 1)}`;
}
