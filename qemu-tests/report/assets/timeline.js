// Draws the timeline from the data in the page. All times in it are microseconds. Texts come from
// guests and are only ever set as text, never as markup.
"use strict";
(() => {
  const run = JSON.parse(document.getElementById("data").textContent);
  const NS = "http:" + "//www.w3.org/2000/svg"; // A name, never fetched.
  const GUTTER = 214, RIGHT = 18, ROW_GAP = 10;
  const host = document.getElementById("chart");
  const tip = document.getElementById("tip");
  const end = Math.max(run.length, 1);
  let view = [0, end];
  const nodes = run.lanes.map((lane) => lane.name);
  const color = (name) => {
    const index = nodes.indexOf(name);
    return index < 0 ? "var(--faint)" : `var(--node${index % 5})`;
  };

  const el = (name, attributes, parent, text) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "tip") made.dataset.tip = value;
      else made.setAttribute(key, value);
    }
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  };

  const span = (micros) => {
    const ms = micros / 1000;
    if (ms < 1) return `${Math.round(micros)} µs`;
    if (ms < 100) return `${ms.toFixed(1)} ms`;
    if (ms < 10000) return `${Math.round(ms)} ms`;
    return `${(ms / 1000).toFixed(1)} s`;
  };
  const clock = (micros) => `${(micros / 1e6).toFixed(3)} s`;
  const firstFault = run.faults.length ? Math.min(...run.faults.map((f) => f.from)) : null;
  const when = (micros) => {
    if (firstFault === null) return clock(micros);
    const since = micros - firstFault;
    return `${clock(micros)}  (fault ${since < 0 ? "−" : "+"} ${span(Math.abs(since))})`;
  };
  const shorten = (text, width, perLetter = 6.3) => {
    const most = Math.max(1, Math.floor(width / perLetter));
    return text.length <= most ? text : text.slice(0, most - 1) + "…";
  };

  // Operations in rows: each takes the first row that is free, so that none hides another.
  const KINDS = ["ping", "append", "read"];
  const OUTCOMES = ["acknowledged", "failed", "unknown"];
  const MOST_ROWS = 8;
  const pack = (operations) => {
    const ends = [];
    for (const operation of operations) {
      let row = ends.findIndex((until) => until <= operation.from);
      if (row < 0) row = ends.length < MOST_ROWS ? ends.length : MOST_ROWS - 1;
      ends[row] = operation.until;
      operation.row = row;
    }
    return Math.max(ends.length, 1);
  };
  const all = run.operations.map((o) => ({
    kind: o[0], outcome: o[1], from: o[2], until: o[3], process: o[4],
    node: run.answered_by[o[5]], timeline: o[6], value: o[7], note: o[8],
  })).sort((a, b) => a.from - b.from);
  const groups = KINDS.map((name, kind) => {
    const operations = all.filter((operation) => operation.kind === kind);
    return { name, kind, operations, rows: operations.length ? pack(operations) : 0 };
  }).filter((group) => group.operations.length);

  const describe = (o) => {
    const lines = [`${KINDS[o.kind]}${o.value ? " of row " + o.value : ""}: ${OUTCOMES[o.outcome]}`];
    lines.push(`process ${o.process}, asked at ${when(o.from)}, ended after ${span(o.until - o.from)}`);
    if (o.node) lines.push(`answered by ${o.node}${o.timeline ? ", timeline " + o.timeline : ""}`);
    if (o.note) lines.push(o.note);
    return lines.join("\n");
  };

  let scale = null;
  const draw = () => {
    const width = Math.max(host.clientWidth, 640);
    const plot = width - GUTTER - RIGHT;
    const [t0, t1] = view;
    const x = (t) => GUTTER + ((t - t0) / (t1 - t0)) * plot;
    const at = (px) => t0 + ((px - GUTTER) / plot) * (t1 - t0);
    scale = { x, at, plot, width };
    const svg = el("svg", { tabindex: 0, role: "img", "aria-label": "timeline; the tables below say the same" });
    const defs = el("defs", {}, svg);
    patterns(defs);
    const clip = el("clipPath", { id: "plot" }, defs);
    const clipped = el("rect", { x: GUTTER, y: 0, width: plot, height: 10 }, clip);
    const under = el("g", { "clip-path": "url(#plot)" }, svg);
    const labels = el("g", {}, svg);
    const over = el("g", { "clip-path": "url(#plot)" }, svg);
    const inView = (from, until) => until >= t0 && from <= t1;
    const box = (from, until, y, height, attributes, parent = over) => {
      if (!inView(from, until)) return null;
      const left = Math.max(x(from), GUTTER - 4), right = Math.min(x(until), width - RIGHT + 4);
      return el("rect", { x: left, y, width: Math.max(right - left, 1), height, ...attributes }, parent);
    };
    const label = (text, y, small, note) => {
      el("text", { x: 0, y, class: small ? "small soft" : "strong", tip: text }, labels,
        shorten(text, GUTTER - 16, small ? 5.7 : 6.9));
      if (note) el("text", { x: 0, y: y + 15, class: "small soft", tip: note }, labels, shorten(note, GUTTER - 16, 5.7));
    };
    const section = (text, y) => el("text", { x: 0, y, class: "section" }, labels, text);

    // The axis.
    let y = 26;
    const axis = el("g", {}, labels);
    const steps = el("g", {}, under);
    const rough = ((t1 - t0) / plot) * 96;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    for (let tick = Math.ceil(t0 / step) * step; tick <= t1; tick += step) {
      el("line", { x1: x(tick), x2: x(tick), y1: 22, y2: 0, stroke: "var(--grid)", class: "tall" }, steps);
      const digits = step >= 1e6 ? 0 : Math.min(6, Math.ceil(-Math.log10(step / 1e6)));
      el("text", { x: x(tick), y: 15, "text-anchor": "middle", class: "small soft" }, axis,
        `${(tick / 1e6).toFixed(digits)} s`);
    }

    // Faults: a bar with a label each, and their shadow over everything.
    const shades = el("g", {}, under);
    if (run.faults.length) {
      section("faults", y + 12);
      const free = [];
      for (const fault of [...run.faults].sort((a, b) => a.from - b.from)) {
        const lasting = fault.until !== null && fault.until !== undefined;
        const until = lasting ? fault.until : fault.from;
        if (!inView(fault.from, until)) continue;
        const left = Math.max(x(fault.from), GUTTER), right = Math.min(x(until), width - RIGHT);
        const text = fault.label + (fault.bit ? "" : " (never bit)");
        const needs = text.length * 6.2 + 12;
        let row = free.findIndex((px) => px <= left);
        if (row < 0) row = free.length;
        free[row] = Math.max(right, left + needs) + 6;
        const top = y + row * 22;
        const proof = `${fault.label}\n${lasting ? "for " + span(until - fault.from) : "for good"}, from ${clock(fault.from)}\n` +
          (fault.bit ? "it bit: " : "NOT PROVEN to have had an effect") + (fault.proof || "");
        const fill = fault.bit ? "var(--fault)" : "var(--unknown)";
        if (lasting) box(fault.from, until, top, 18, { fill, rx: 4, opacity: .22, tip: proof });
        el("line", { x1: x(fault.from), x2: x(fault.from), y1: top, y2: top + 18, stroke: fill, "stroke-width": 3 }, over);
        const inside = Math.max(left + 7, GUTTER + 5);
        el("text", { x: inside, y: top + 13, class: "strong", style: `fill:${fill}`, tip: proof }, over, text);
        box(fault.from, until, y, 10, { fill: "var(--fault)", opacity: .07, class: "tall" }, shades);
        for (const edge of lasting ? [fault.from, until] : [fault.from]) {
          if (edge < t0 || edge > t1) continue;
          el("line", { x1: x(edge), x2: x(edge), y1: top + 18, y2: 0, stroke: fill, "stroke-width": 1, opacity: .55,
            "stroke-dasharray": edge === fault.from ? "none" : "4 3", class: "tall" }, shades);
        }
      }
      y += Math.max(free.length, 1) * 22 + ROW_GAP;
    }

    // Machines: power as the ground, what they are for others on it, moments above.
    if (run.lanes.length) { section("machines", y + 10); y += 16; }
    const powers = { booting: ["url(#booting)", "booting"], on: ["var(--grid)", "on"],
      frozen: ["url(#frozen)", "frozen"], stalled: ["url(#frozen)", "stalled"], off: ["url(#off)", "off"] };
    for (const lane of run.lanes) {
      label(lane.name, y + 15, false, lane.note);
      const own = color(lane.name);
      el("rect", { x: GUTTER - 9, y: y + 2, width: 4, height: 32, rx: 2, fill: own }, labels);
      for (const part of lane.power) {
        const [fill, word] = powers[part.power];
        box(part.from, part.until, y + 2, 32, { fill, rx: 3,
          tip: `${lane.name}: ${word}\nfor ${span(part.until - part.from)}, from ${when(part.from)}` });
      }
      for (const part of lane.roles) {
        const leads = part.kind === "leader", between = part.kind === "between";
        const made = box(part.from, part.until, y + 9, 18, { fill: between ? "url(#between)" : own, rx: 4,
          "fill-opacity": leads ? .92 : between ? 1 : .2, stroke: leads ? "none" : own, "stroke-opacity": .55,
          tip: `${lane.name}: ${part.role}\nfor ${span(part.until - part.from)}, from ${when(part.from)}` });
        if (made && +made.getAttribute("width") > 46) {
          el("text", { x: Math.max(+made.getAttribute("x"), GUTTER) + 7, y: y + 22, class: "small", "pointer-events": "none",
            style: leads ? "fill:var(--card);font-weight:600" : "" }, over, shorten(part.role, +made.getAttribute("width") - 10, 5.9));
        }
      }
      for (const part of lane.power.filter((p) => ["frozen", "stalled", "off", "booting"].includes(p.power))) {
        if (!inView(part.from, part.until)) continue;
        const left = Math.max(x(part.from), GUTTER), right = Math.min(x(part.until), width - RIGHT);
        const word = powers[part.power][1];
        if (right - left > word.length * 7 + 14) {
          const mid = (left + right) / 2, half = word.length * 3.6 + 6;
          el("rect", { x: mid - half, y: y + 10, width: half * 2, height: 16, rx: 8, fill: "var(--card)", opacity: .92, "pointer-events": "none" }, over);
          el("text", { x: mid, y: y + 22, "text-anchor": "middle", class: "small strong", "pointer-events": "none" }, over, word);
        }
      }
      for (const mark of lane.marks) {
        if (mark.at < t0 || mark.at > t1) continue;
        const fill = { good: "var(--pass)", bad: "var(--bad)", note: "var(--soft)" }[mark.kind];
        el("path", { d: `M${x(mark.at)} ${y - 4}l5 5l-5 5l-5 -5z`, fill, stroke: "var(--card)",
          tip: `${lane.name}: ${mark.text}\nat ${when(mark.at)}` }, over);
      }
      y += 36 + ROW_GAP;
    }

    // Virtual addresses: the colour is the owner's.
    if (run.addresses.length) { section("addresses, by the wire", y + 10); y += 16; }
    for (const address of run.addresses) {
      label(address.name, y + 15, false, "who announces it");
      el("rect", { x: GUTTER, y: y + 2, width: plot, height: 24, fill: "url(#nobody)", rx: 3, tip: `${address.name}: nobody announces it` }, under);
      for (const reign of address.reigns) {
        const made = box(reign.from, reign.until, y + 2, 24, { fill: color(reign.owner), rx: 3, "fill-opacity": .85,
          tip: `${address.name} is announced by ${reign.owner}\nfor ${span(reign.until - reign.from)}, from ${when(reign.from)}` });
        if (made && +made.getAttribute("width") > reign.owner.length * 7 + 12) {
          el("text", { x: Math.max(+made.getAttribute("x"), GUTTER) + 7, y: y + 18, class: "small",
            style: "fill:var(--card);font-weight:600", "pointer-events": "none" }, over, reign.owner);
        }
      }
      for (const [index, one] of address.reigns.entries()) for (const other of address.reigns.slice(index + 1)) {
        const from = Math.max(one.from, other.from), until = Math.min(one.until, other.until);
        if (one.owner !== other.owner && from < until) box(from, until, y - 1, 30, { fill: "url(#split)", stroke: "var(--bad)", "stroke-width": 2,
          tip: `TWO OWNERS: ${one.owner} and ${other.owner}\nfor ${span(until - from)}, from ${when(from)}` });
      }
      for (const said of address.announcements) {
        if (said.at < t0 || said.at > t1) continue;
        el("path", { d: `M${x(said.at)} ${y + 28}l4.5 8h-9z`, fill: color(said.by), tip: `${said.by} says that ${address.name} is here (GARP or NA)\nat ${when(said.at)}` }, over);
      }
      y += 38 + ROW_GAP;
    }

    // Clients.
    if (groups.length) { section("clients", y + 10); y += 16; }
    const clientsTop = y;
    if (run.gap) y += 24;
    const shown = groups.find((group) => run.gap && KINDS[group.kind] === run.gap.kind) || groups[0];
    if (shown) {
      const BIN = 5, bins = new Float64Array(Math.ceil(plot / BIN) + 1);
      for (const o of shown.operations) {
        if (o.outcome === 0 && o.until >= t0 && o.until <= t1) bins[Math.floor((x(o.until) - GUTTER) / BIN)] += 1;
      }
      const most = Math.max(1, ...bins), perSecond = 1e6 / (((t1 - t0) / plot) * BIN);
      label("acknowledged", y + 18, false, `${shown.name}s per second, at most ${Math.round(most * perSecond)}`);
      bins.forEach((count, index) => {
        if (count) el("rect", { x: GUTTER + index * BIN, y: y + 38 - (36 * count) / most, width: BIN - 1,
          height: (36 * count) / most, fill: "var(--pass)", opacity: .75 }, over);
      });
      el("line", { x1: GUTTER, x2: width - RIGHT, y1: y + 38.5, y2: y + 38.5, stroke: "var(--line)" }, over);
      y += 48;
    }
    const fills = ["var(--pass)", "var(--bad)", "var(--unknown)"];
    for (const group of groups) {
      const counts = [0, 1, 2].map((outcome) => group.operations.filter((o) => o.outcome === outcome).length);
      label(`${group.name}s`, y + 8, false, counts.map((count, i) => (count ? `${count} ${["ok", "failed", "unknown"][i]}` : "")).filter(Boolean).join(", "));
      const height = 8, last = {};
      for (const o of group.operations) {
        if (!inView(o.from, o.until)) continue;
        const left = x(o.from), right = x(o.until), top = y + o.row * (height + 2);
        // What would be drawn into the same pixel is drawn once.
        const key = `${o.row} ${o.outcome}`;
        if (last[key] !== undefined && right < last[key] + 1) continue;
        last[key] = right;
        const made = box(o.from, o.until, top, height, { fill: fills[o.outcome], rx: 1.5, tip: describe(o) });
        if (!made) continue;
        if (o.outcome === 2) { made.setAttribute("fill-opacity", .28); made.setAttribute("stroke", fills[2]); }
        if (o.outcome === 1) {
          el("path", { d: `M${right - 3} ${top + 1}l6 6m0 -6l-6 6`, stroke: fills[1], "stroke-width": 1.8, tip: describe(o) }, over);
          if (right - left < 3) made.remove();
        }
      }
      y += Math.max(group.rows * (height + 2), 26) + ROW_GAP;
    }
    if (run.gap && shown) {
      const { from, until, budget } = run.gap, length = until - from;
      const over_budget = budget !== null && length > budget;
      const ink = over_budget ? "var(--bad)" : "var(--ink)";
      const text = `nothing acknowledged for ${span(length)}` + (budget === null ? "" : `, allowed ${span(budget)}`);
      box(from, until, clientsTop + 10, y - clientsTop - 16, { fill: ink, "fill-opacity": over_budget ? .1 : .05, stroke: ink, "stroke-width": 1.4,
        "stroke-dasharray": "5 3", rx: 4, "pointer-events": "none" });
      if (budget !== null && from + budget >= t0 && from + budget <= t1) {
        el("line", { x1: x(from + budget), x2: x(from + budget), y1: clientsTop + 20, y2: y - 6, stroke: "var(--bad)", "stroke-width": 1.6, "stroke-dasharray": "2 2" }, over);
      }
      if (inView(from, until)) {
        const half = text.length * 3.25 + 9;
        const mid = Math.min(Math.max(x((from + until) / 2), GUTTER + half), width - RIGHT - half);
        el("rect", { x: mid - half, y: clientsTop, width: half * 2, height: 20, rx: 10, fill: "var(--card)", stroke: ink, tip: `the longest gap\nfrom ${when(from)}` }, over);
        el("text", { x: mid, y: clientsTop + 14, "text-anchor": "middle", class: "strong", style: `fill:${ink}`, "pointer-events": "none" }, over, text);
      }
    }

    // Assertions.
    if (run.assertions.length) { section("had to happen", y + 10); y += 16; }
    for (const assertion of run.assertions) {
      const happened = assertion.met !== null && assertion.met !== undefined;
      const met = happened && assertion.met <= assertion.deadline;
      const ink = met ? "var(--pass)" : "var(--bad)";
      label(assertion.text, y + 13, true);
      const allowed = assertion.deadline - assertion.from;
      const told = happened ? `${span(assertion.met - assertion.from)} of ${span(allowed)}` : `not within ${span(allowed)}`;
      const about = `${assertion.text}\n${told}, waited for from ${when(assertion.from)}`;
      box(assertion.from, assertion.deadline, y + 2, 14, { fill: met ? "var(--grid)" : "url(#split)", stroke: ink, "stroke-opacity": .5, rx: 3, tip: about });
      if (met) box(assertion.from, assertion.met, y + 2, 14, { fill: ink, "fill-opacity": .55, rx: 3, tip: about });
      const last = happened ? Math.max(assertion.met, assertion.deadline) : assertion.deadline;
      if (last > assertion.deadline) box(assertion.deadline, last, y + 6, 6, { fill: ink, "fill-opacity": .5, tip: about });
      if (assertion.deadline >= t0 && assertion.deadline <= t1) {
        el("line", { x1: x(assertion.deadline), x2: x(assertion.deadline), y1: y - 1, y2: y + 19, stroke: ink, "stroke-width": 2 }, over);
      }
      if (inView(assertion.from, last)) {
        const text = (met ? "✓ " : "✗ ") + told, needs = text.length * 6 + 8;
        const beside = x(last) + 7 + needs < width - RIGHT;
        el("text", { x: beside ? Math.max(x(last), GUTTER) + 7 : Math.min(x(assertion.from), width - RIGHT) - 7, y: y + 13, class: "small strong",
          "text-anchor": beside ? "start" : "end", style: `fill:${ink}`, tip: about }, over, text);
      }
      y += 22;
    }

    overview(svg, y + 8, width, plot);
    const height = y + 44;
    for (const tall of under.querySelectorAll(".tall")) {
      if (tall.tagName === "line") tall.setAttribute("y2", y); else tall.setAttribute("height", y - +tall.getAttribute("y"));
    }
    clipped.setAttribute("height", height);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    el("line", { id: "cursor", y1: 20, y2: y, stroke: "var(--ink)", opacity: 0, "pointer-events": "none" }, svg);
    el("rect", { id: "chosen", y: 20, height: y - 20, fill: "var(--node0)", opacity: 0, "pointer-events": "none" }, svg);
    const had = document.activeElement && document.activeElement.parentNode === host;
    host.replaceChildren(svg);
    if (had) svg.focus();
    interact(svg, height, y);
  };

  const patterns = (defs) => {
    const stripes = (id, ground, ink, size, strong) => {
      const made = el("pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, defs);
      el("rect", { width: size, height: size, fill: ground[0], "fill-opacity": ground[1] }, made);
      el("rect", { width: size / 2, height: size, fill: ink, "fill-opacity": strong }, made);
    };
    stripes("frozen", ["var(--ice)", .25], "var(--ice)", 9, .45);
    stripes("off", ["var(--off)", .42], "var(--off)", 9, .3);
    stripes("booting", ["var(--grid)", 1], "var(--faint)", 10, .3);
    stripes("between", ["var(--unknown)", .2], "var(--unknown)", 8, .4);
    stripes("nobody", ["var(--bad)", .05], "var(--bad)", 10, .12);
    stripes("split", ["var(--bad)", .2], "var(--bad)", 8, .45);
  };

  // The whole run in small, and the part of it that is shown.
  const overview = (svg, y, width, plot) => {
    const x = (t) => GUTTER + (t / end) * plot;
    const group = el("g", { id: "overview", style: "cursor:grab" }, svg);
    el("rect", { x: GUTTER, y, width: plot, height: 24, fill: "var(--grid)", rx: 4 }, group);
    for (const address of run.addresses.slice(0, 1)) for (const reign of address.reigns) {
      el("rect", { x: x(reign.from), y: y + 9, width: Math.max(x(reign.until) - x(reign.from), 1), height: 6, fill: color(reign.owner), opacity: .7 }, group);
    }
    for (const fault of run.faults) {
      el("rect", { x: x(fault.from), y, width: Math.max(x(fault.until ?? fault.from) - x(fault.from), 2), height: 24, fill: "var(--fault)", opacity: .3 }, group);
    }
    el("rect", { x: x(view[0]), y: y - 1, width: Math.max(x(view[1]) - x(view[0]), 3), height: 26, fill: "none", stroke: "var(--ink)", "stroke-width": 1.5, rx: 4 }, group);
    el("text", { x: 0, y: y + 16, class: "small soft" }, svg, "the whole run");
  };

  const show = (from, until) => {
    const length = Math.min(Math.max(until - from, 2000), end);
    const begin = Math.min(Math.max(from, 0), end - length);
    view = [begin, begin + length];
    draw();
  };
  const zoom = (factor, around = (view[0] + view[1]) / 2) =>
    show(around - (around - view[0]) * factor, around + (view[1] - around) * factor);
  const pan = (share) => { const by = (view[1] - view[0]) * share; show(view[0] + by, view[1] + by); };
  // Where something happens: the faults, what had to follow, and the longest wait.
  const action = () => {
    if (firstFault === null) return [0, end];
    const followed = run.assertions.map((a) => a.met ?? a.deadline);
    const last = Math.max(...run.faults.map((f) => f.until ?? f.from), ...followed, run.gap ? run.gap.until : 0);
    const room = Math.max((last - firstFault) * .25, 5e5);
    return [firstFault - room, last + room];
  };
  const aroundFaults = () => show(...action());

  const interact = (svg, height, plotEnd) => {
    const place = (event) => {
      const area = svg.getBoundingClientRect();
      return { px: ((event.clientX - area.left) / area.width) * scale.width, py: ((event.clientY - area.top) / area.height) * height };
    };
    const cursor = svg.querySelector("#cursor"), chosen = svg.querySelector("#chosen");
    svg.addEventListener("pointermove", (event) => {
      const { px, py } = place(event);
      const inside = px >= GUTTER && px <= scale.width - RIGHT && py < plotEnd;
      cursor.setAttribute("opacity", inside ? .35 : 0);
      cursor.setAttribute("x1", px); cursor.setAttribute("x2", px);
      const text = event.target.dataset.tip || (inside ? when(scale.at(px)) : "");
      tip.textContent = text;
      tip.style.opacity = text ? 1 : 0;
      const left = event.clientX + 16 + tip.offsetWidth > innerWidth ? event.clientX - 12 - tip.offsetWidth : event.clientX + 16;
      tip.style.left = `${Math.max(left, 4)}px`;
      tip.style.top = `${Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8)}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.style.opacity = 0; cursor.setAttribute("opacity", 0); });
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch") return;
      const start = place(event);
      if (start.px < GUTTER) return;
      const onOverview = start.py >= plotEnd;
      const center = (px) => { const half = (view[1] - view[0]) / 2, t = ((px - GUTTER) / scale.plot) * end; show(t - half, t + half); };
      if (onOverview) { center(start.px); }
      const move = (moved) => {
        const now = place(moved);
        if (onOverview) return center(now.px);
        chosen.setAttribute("opacity", .15);
        chosen.setAttribute("x", Math.min(start.px, now.px));
        chosen.setAttribute("width", Math.abs(now.px - start.px));
      };
      const done = (ended) => {
        removeEventListener("pointermove", move); removeEventListener("pointerup", done);
        if (onOverview) return;
        const now = place(ended);
        chosen.setAttribute("opacity", 0);
        if (Math.abs(now.px - start.px) > 5) show(scale.at(Math.min(start.px, now.px)), scale.at(Math.max(start.px, now.px)));
      };
      addEventListener("pointermove", move); addEventListener("pointerup", done);
    });
    svg.addEventListener("dblclick", () => show(0, end));
    svg.addEventListener("wheel", (event) => {
      // Without a key the wheel scrolls the page, as everywhere.
      if (event.ctrlKey || event.metaKey) zoom(1.0015 ** event.deltaY, scale.at(place(event).px));
      else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 1200);
      else return;
      event.preventDefault();
    }, { passive: false });
    svg.addEventListener("keydown", (event) => {
      const act = { "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1.6), ArrowLeft: () => pan(-.2),
        ArrowRight: () => pan(.2), "0": () => show(0, end), f: aroundFaults }[event.key];
      if (act) { act(); event.preventDefault(); }
    });
  };

  const on = (id, act) => { const found = document.getElementById(id); if (found) found.addEventListener("click", act); };
  on("in", () => zoom(.5)); on("out", () => zoom(2)); on("left", () => pan(-.3)); on("right", () => pan(.3));
  on("fit", () => show(0, end)); on("fault", aroundFaults);
  for (const jump of document.querySelectorAll("[data-at]")) {
    jump.addEventListener("click", () => {
      const at = +jump.dataset.at;
      show(at - 1e6, at + 1.5e6);
      host.scrollIntoView({ behavior: "smooth", block: "center" });
    });
  }
  let waiting = 0;
  addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(draw); });
  // A drill often waits longer for a boot than all that follows takes.
  const [from, until] = action();
  if (until - from < end * .4) aroundFaults(); else draw();
})();
