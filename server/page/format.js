// Formats figures.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes with a binary unit and three digits: `1.50 GiB`. */
export function bytes(value) {
  let scaled = value;
  let unit = 0;
  while (scaled >= 1000 && unit < UNITS.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(scaled) : scaled.toPrecision(3)} ${UNITS[unit]}`;
}

/** Bytes per second. */
export function rate(value) {
  return `${bytes(value)}/s`;
}

/** A share of 0 to 1 as a percentage; a dash if undefined. */
export function share(value) {
  return value === undefined ? "\u2013" : `${(100 * value).toFixed(1)} %`;
}

/** A whole number with thousands separators. */
export function count(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** Milliseconds, or seconds from 1,000 ms on. */
export function duration(ms) {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  return ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** A duration in its two largest units: `3 h 12 min`. */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
