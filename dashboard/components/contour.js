/* The outline of a picture, for components that draw maps over it: `define(name, "contour")` puts it before theirs. */

/* Blocks of k × k cells as one: the value farthest from zero, because a mean would hide single strong pixels. */
function shrunk(values, width, height, k, pick) {
  if (k === 1) return { values, width, height };
  const w = Math.ceil(width / k), h = Math.ceil(height / k), out = new Float32Array(w * h);
  const counts = pick ? null : new Uint16Array(w * h);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const v = values[y * width + x], at = Math.floor(y / k) * w + Math.floor(x / k);
      if (pick) { if (Math.abs(v) > Math.abs(out[at])) out[at] = v; } else { out[at] += v; counts[at]++; }
    }
  }
  if (!pick) for (let i = 0; i < out.length; i++) out[i] /= counts[i];
  return { values: out, width: w, height: h };
}

/* The line at half brightness, cell by cell (marching squares); photographs are softened first. */
function outline(grey, width, height) {
  const soft = Math.max(width, height) > 64 ? shrunk(grey, width, height, Math.ceil(Math.max(width, height) / 56), false) : { values: grey, width, height };
  const k = width / soft.width, w = soft.width, h = soft.height;
  let low = Infinity, high = -Infinity;
  for (const v of soft.values) { low = Math.min(low, v); high = Math.max(high, v); }
  const level = (low + high) / 2, path = [];
  const at = (x, y) => (x < 0 || y < 0 || x >= w || y >= h ? low : soft.values[y * w + x]);
  const cut = (a, b) => (a === b ? 0.5 : (level - a) / (b - a));
  for (let y = -1; y < h; y++) {
    for (let x = -1; x < w; x++) {
      const [a, b, c, d] = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)];
      const kind = (a > level) * 8 + (b > level) * 4 + (c > level) * 2 + (d > level);
      if (kind === 0 || kind === 15) continue;
      const sides = { n: [cut(a, b), 0], e: [1, cut(b, c)], s: [cut(d, c), 1], w: [0, cut(a, d)] };
      for (const pair of SEGMENTS[kind]) {
        const [p, q] = [...pair].map((side) => sides[side].map((v, axis) => ((v + (axis ? y : x) + 0.5) * k).toFixed(2)));
        path.push(`M${p}L${q}`);
      }
    }
  }
  return path.join("");
}

const SEGMENTS = {
  1: ["ws"], 2: ["se"], 3: ["we"], 4: ["ne"], 5: ["nw", "se"], 6: ["ns"], 7: ["nw"],
  8: ["nw"], 9: ["ns"], 10: ["ne", "ws"], 11: ["ne"], 12: ["we"], 13: ["se"], 14: ["ws"],
};

/* That outline as SVG, readable on any map: white over dark, or dark over white where the map is pale. */
function contourMarks(path, cell, onPale) {
  const shape = { d: path, transform: `scale(${cell})` };
  return [sv("path", { ...shape, class: `contour wide ${onPale ? "white" : "dark"}` }), sv("path", { ...shape, class: `contour ${onPale ? "dark" : "white"}` })];
}
