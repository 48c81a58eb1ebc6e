/* What the open button beside a chart offers: the files of `save_chart.js`, of the chart as it stands on the page. */

export default function ({ data, parentElement }) {
  const [slide] = parentElement.querySelectorAll("input");
  for (const button of parentElement.querySelectorAll("button")) {
    button.onclick = () => {
      const view = KDSave.findView(document.querySelector(`.st-key-drawn_${data.chart} .stVegaLiteChart`));
      if (view) KDSave.save(button.value, { ...data, view, slide: slide.checked, link: location.href });
    };
  }
}
