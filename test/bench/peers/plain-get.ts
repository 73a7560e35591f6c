import { get } from "node:http";

/** One plain GET of a whole object of the origin, its bytes thrown away. */
export function plainGet(endpoint: string, key: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(`${endpoint}/bench/${key}`, { agent: false }, (response) => {
      response.resume();
      response.once("end", resolve).once("error", reject);
    }).once("error", reject);
  });
}
