export { eventually, settled } from "./eventually.js";
