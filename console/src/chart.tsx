/** A chart of columns, one a day, each of stacked parts; and the same as a table. */

import { useText } from "./preferences.js";

export interface Column {
  label: string;
  parts: { name: string; title: string; size: number; shown: string }[];
}

const [WIDTH, HEIGHT, GAP] = [640, 150, 2];

interface Props {
  title: string;
  note: string;
  columns: Column[];
}

export function Chart({ title, note, columns }: Props) {
  const text = useText();
  const sizeOf = (column: Column) => column.parts.reduce((sum, part) => sum + part.size, 0);
  const max = Math.max(...columns.map(sizeOf), 1);
  const scale = columns.length > 0 ? max.toLocaleString(document.documentElement.lang) : "";
  const width = WIDTH / Math.max(columns.length, 12);
  return (
    <figure className="panel chart">
      <figcaption>
        <strong>{title}</strong> <span className="faint">{note}</span>
        <span className="faint max">{scale}</span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        {[0.25, 0.5, 0.75].map((part) => (
          <line
            key={part}
            className="grid"
            x1="0"
            x2={WIDTH}
            y1={HEIGHT * part}
            y2={HEIGHT * part}
          />
        ))}
        {columns.map((column, index) => {
          let bottom = HEIGHT;
          return (
            <g key={column.label}>
              <title>{titleOf(column)}</title>
              {column.parts.map((part) => {
                const height = (part.size / max) * (HEIGHT - 4);
                bottom -= height;
                return (
                  <rect
                    key={part.name}
                    data-part={part.name}
                    x={index * width}
                    y={bottom}
                    width={Math.max(width - GAP, 1)}
                    height={height}
                  />
                );
              })}
            </g>
          );
        })}
      </svg>
      <p className="axis faint">
        <span>{columns[0]?.label}</span>
        <span>{columns.length > 1 && columns.at(-1)?.label}</span>
      </p>
      <details>
        <summary>{text.overview.table}</summary>
        <table className="data">
          <tbody>
            {columns.map((column) => (
              <tr key={column.label}>
                <th scope="row">{column.label}</th>
                <td>{column.parts.map((part) => `${part.title} ${part.shown}`).join(" · ")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}

function titleOf(column: Column): string {
  const parts = column.parts.map((part) => `${part.title} ${part.shown}`);
  return [column.label, ...parts].join("\n");
}
