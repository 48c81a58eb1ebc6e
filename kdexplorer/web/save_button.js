/* What the open button beside a chart offers: the files of `save_chart.js`, of the chart as it stands on the page. */

export default function ({ data, parentElement }) {
  const drawn = (chart) => chart && KDSave.findView(document.querySelector(`.st-key-drawn_${chart} .stVegaLiteChart`));
  const [slide] = parentElement.querySelectorAll("input");
  for (const button of parentElement.querySelectorAll("button")) {
    button.onclick = () => {
      const view = drawn(data.chart);
      if (view) KDSave.save(button.value, { ...data, view, scale: drawn(data.scale), slide: slide.checked, link: location.href });
    };
  }
}
