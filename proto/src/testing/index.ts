export { eventually, settled, until } from "./eventually.js";
