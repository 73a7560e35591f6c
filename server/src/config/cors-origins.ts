import { type Parser, wrong } from "./parser.js";

/** The form of a page's origin, with at most one `*`, or `*` alone. */
const FORM = /^(?:\*|[a-z][a-z0-9+.-]*:\/\/(?=[^*]*\*?[^*]*$)[A-Za-z0-9.*[\]:_-]{1,255}|null)$/;

/** Origins of pages, separated by commas, each `https://host[:port]` with at most one `*`, or `*`; empty text: no page. */
export const corsOrigins: Parser<readonly string[]> = {
  unit: "origin,...",
  parse(text) {
    if (text === "") return [];
    return text.split(",").map((each) => {
      const origin = each.trim();
      if (!FORM.test(origin))
        throw wrong(origin, "an origin of pages", "*, or https://host[:port] with at most one *, without a path");
      return origin;
    });
  },
};
