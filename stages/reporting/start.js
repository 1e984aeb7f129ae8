const data = JSON.parse(byId("explored").textContent);
const explored = new Explored(data);
const pictures = new Pictures(data, byId("sprite"));
const answers = new Answers(data);
const explorer = new Explorer(explored, pictures, update);
const judge = new Judge(explored, pictures, answers, update);

function update() {
  const [first, last] = explorer.interval;
  const judged = judge.estimate(first, last);
  const accuracy = explored.labelled ? explored.interval(first, last).accuracy : judged.accuracy;
  explorer.show(accuracy, judged.answers, judge.strata());
  judge.show(first, last);
}

for (const node of document.querySelectorAll("[data-scripted]")) node.hidden = false;
for (const node of document.querySelectorAll("[data-static]")) node.hidden = true;
update();
