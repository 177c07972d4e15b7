// A click on a column header, or Enter there, sorts its table by that column.
for (const head of document.querySelectorAll('table.sortable th')) {
  const column = [...head.parentNode.children].indexOf(head);
  const body = head.closest('table').tBodies[0];
  const value = row => {
    const text = row.cells[column].textContent.replaceAll('\u2212', '-').replaceAll(',', '').trim();
    const number = parseFloat(text);
    return Number.isNaN(number) ? text : number;
  };
  const sort = () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (typeof x !== typeof y) return typeof x === 'number' ? -1 : 1;
      return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
    };
    body.append(...[...body.rows].sort(order));
  };
  head.tabIndex = 0;
  head.addEventListener('click', sort);
  head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
}
