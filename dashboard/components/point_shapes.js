/* The markers of classes twice: as SVG for legends and as distances in a fragment shader for the points. */

const around = (corners, turn = 0, radii = [1]) => Array.from({ length: corners }, (_, k) => {
  const angle = (2 * Math.PI * k) / corners + turn, r = radii[k % radii.length];
  return [Math.sin(angle) * r, -Math.cos(angle) * r];
});
const plus = (a) => [[-a, -1], [a, -1], [a, -a], [1, -a], [1, a], [a, a], [a, 1], [-a, 1], [-a, a], [-1, a], [-1, -a], [-a, -a]];
const turned = (corners, angle) => corners.map(([x, y]) => [Math.cos(angle) * x - Math.sin(angle) * y, Math.sin(angle) * x + Math.cos(angle) * y]);

/* In the order of the shader's cases. */
const CORNERS = {
  circle: around(24), square: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]], "triangle-up": around(3), diamond: around(4),
  cross: plus(0.32), x: turned(plus(0.32), Math.PI / 4), "triangle-down": around(3, Math.PI), pentagon: around(5), hexagon: around(6), star: around(10, 0, [1, 0.42]),
};
const SHAPE_NAMES = Object.keys(CORNERS);

function shapeIcon(shape, colour, side = 14) {
  const path = `M${CORNERS[shape].map(([x, y]) => `${x.toFixed(3)} ${y.toFixed(3)}`).join("L")}Z`;
  return sv("svg", { width: side, height: side, viewBox: "-1.1 -1.1 2.2 2.2", "aria-hidden": "true" }, sv("path", { d: path, fill: colour }));
}

const HIDDEN = 1, RINGED = 2, DIMMED = 4, MOST_GROUPS = 32;

const VERTEX = `#version 300 es
in vec2 before; in vec2 after; in uvec2 kind;
uniform float moved, size; uniform vec2 centre, scale; uniform vec3 colours[${MOST_GROUPS}]; uniform int shapes[${MOST_GROUPS}];
flat out vec3 colour; flat out int shape; flat out uint state;
void main() {
  state = kind.y; colour = colours[kind.x]; shape = shapes[kind.x];
  vec2 place = (mix(before, after, moved) - centre) * scale;
  gl_Position = (state & ${HIDDEN}u) != 0u ? vec4(9.0, 9.0, 0.0, 1.0) : vec4(place, 0.0, 1.0);
  gl_PointSize = size * 1.7;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
flat in vec3 colour; flat in int shape; flat in uint state;
uniform float size; uniform vec3 ink; out vec4 result;
float polygon(vec2 p, float n) {
  float step = 6.2831853 / n, angle = atan(p.x, p.y);
  return cos(floor(0.5 + angle / step) * step - angle) * length(p) - cos(3.14159265 / n);
}
float cross_(vec2 p) { vec2 q = abs(p); return min(max(q.x - 0.32, q.y - 1.0), max(q.y - 0.32, q.x - 1.0)); }
float star(vec2 p) {
  float step = 1.25663706, angle = abs(mod(atan(p.x, p.y) + 0.5 * step, step) - 0.5 * step);
  vec2 q = length(p) * vec2(cos(angle), sin(angle)), b = 0.42 * vec2(cos(0.5 * step), sin(0.5 * step)) - vec2(1.0, 0.0);
  return -(b.x * q.y - b.y * (q.x - 1.0)) / length(b);
}
float away(vec2 p) {
  if (shape == 0) return length(p) - 1.0;
  if (shape == 1) return max(abs(p.x), abs(p.y)) - 0.85;
  if (shape == 2) return polygon(p, 3.0);
  if (shape == 3) return (abs(p.x) + abs(p.y) - 1.0) * 0.7071;
  if (shape == 4) return cross_(p);
  if (shape == 5) return cross_(vec2(p.x + p.y, p.x - p.y) * 0.7071);
  if (shape == 6) return polygon(-p, 3.0);
  if (shape == 7) return polygon(p, 5.0);
  if (shape == 8) return polygon(p, 6.0);
  return star(p);
}
void main() {
  vec2 p = (gl_PointCoord * 2.0 - 1.0) * vec2(1.7, -1.7);
  float pixel = 2.0 / size, d = away(p);
  float body = 1.0 - smoothstep(-0.5 * pixel, 0.5 * pixel, d);
  float rim = smoothstep(-1.6 * pixel, -0.6 * pixel, d) * 0.5;
  float ring = (state & ${RINGED}u) != 0u ? 1.0 - smoothstep(0.4 * pixel, 1.2 * pixel, abs(length(p) - 1.5)) : 0.0;
  float alpha = max(body, ring) * ((state & ${DIMMED}u) != 0u ? 0.13 : 1.0);
  if (alpha < 0.01) discard;
  vec3 shown = mix(mix(colour, ink, rim), ink, ring * (1.0 - body));
  result = vec4(shown * alpha, alpha);
}`;

/* A canvas that draws points in one call, or null where the browser has no WebGL 2. */
function pointPainter(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`the points' shader: ${gl.getProgramInfoLog(program)}`);
  gl.useProgram(program);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const at = (name) => gl.getUniformLocation(program, name), buffers = {};
  const send = (name, array, bytes) => {
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name] ??= gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, array, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(place);
    if (bytes) gl.vertexAttribIPointer(place, 2, gl.UNSIGNED_BYTE, 0, 0);
    else gl.vertexAttribPointer(place, 2, gl.FLOAT, false, 0, 0);
  };
  return {
    positions(before, after) { send("before", before); send("after", after); },
    kinds(kind) { send("kind", kind, true); },
    groups(marks, ink) {
      gl.uniform3fv(at("colours"), new Float32Array(marks.flatMap((mark) => rgb(mark.colour).map((v) => v / 255))));
      gl.uniform1iv(at("shapes"), new Int32Array(marks.map((mark) => SHAPE_NAMES.indexOf(mark.shape))));
      gl.uniform3fv(at("ink"), ink);
    },
    paint({ count, moved, size, centre, scale }) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform1f(at("moved"), moved);
      gl.uniform1f(at("size"), size);
      gl.uniform2fv(at("centre"), centre);
      gl.uniform2fv(at("scale"), scale);
      gl.drawArrays(gl.POINTS, 0, count);
    },
  };
}
