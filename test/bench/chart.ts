/** One bar. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  /** What is written beside it. */
  readonly text: string;
  readonly isOurs: boolean;
}

/** Bars under a heading. */
export interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
  /** Logarithmic: for values that differ by orders of magnitude. */
  readonly isLog?: boolean;
}

const width = 720;
const labelWidth = 190;
const textWidth = 110;
const barHeight = 16;
const barGap = 6;
const panelGap = 34;
const titleHeight = 26;
const barRoom = width - labelWidth - textWidth;

/** Panels of bars under each other, readable on a light and on a dark page. */
export function drawChart(title: string, panels: readonly Panel[]): string {
  let y = 44;
  const drawn = panels.map((panel) => {
    const top = y;
    y += titleHeight + panel.bars.length * (barHeight + barGap) + panelGap;
    return drawPanel(panel, top);
  });
  const height = y - panelGap + 12;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeText(title)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .panel { font-weight: 600 }
  .ours { fill: #1a7f37 }
  .theirs { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .ours { fill: #3fb950 }
    .theirs { fill: #6e7681 }
  }
</style>
<text class="title" x="0" y="20">${escapeText(title)}</text>
${drawn.join("\n")}
</svg>
`;
}

function drawPanel({ title, bars, isLog = false }: Panel, top: number): string {
  const most = Math.max(...bars.map(({ value }) => value));
  const rows = bars.map((bar, index) => {
    const y = top + titleHeight + index * (barHeight + barGap);
    const length = Math.max(2, barRoom * shareOf(bar.value, most, isLog));
    const colour = bar.isOurs ? "ours" : "theirs";
    return `<text x="${labelWidth - 8}" y="${y + 13}" text-anchor="end">${escapeText(bar.label)}</text>
<rect class="${colour}" x="${labelWidth}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="2"/>
<text x="${(labelWidth + length + 6).toFixed(1)}" y="${y + 13}">${escapeText(bar.text)}</text>`;
  });
  return [`<text class="panel" x="0" y="${top + 12}">${escapeText(title)}</text>`, ...rows].join("\n");
}

function shareOf(value: number, most: number, isLog: boolean): number {
  if (most <= 0 || value <= 0) return 0;
  return isLog ? Math.log10(1 + value) / Math.log10(1 + most) : value / most;
}

function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
