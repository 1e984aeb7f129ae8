"""The queue of embeddings: what is where after each push."""

from __future__ import annotations

import pytest
import torch

from stages.ssl import distributed
from stages.ssl.queue import Queue


def new(size: int = 5) -> Queue:
    torch.manual_seed(0)
    return Queue(size, 3)


def push(queue: Queue, *ids: int) -> list[int]:
    """Rows that say which image they are of; the places they went to."""
    return queue.push(torch.tensor(ids)[:, None].expand(-1, 3).float(), torch.tensor(ids)).tolist()


def test_a_new_queue_has_random_unit_rows_of_no_image():
    queue = new(100)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(100))
    assert queue.rows.mean(0).abs().max() < 0.2  # in no direction more than in another
    assert queue.ids.tolist() == [-1] * 100
    assert queue.next.item() == 0


def test_rows_go_over_the_oldest_in_their_order_and_around_the_end():
    queue = new()
    first = queue.rows.clone()
    assert push(queue, 7, 8, 9) == [0, 1, 2]
    assert queue.ids.tolist() == [7, 8, 9, -1, -1]
    assert torch.equal(queue.rows[3:], first[3:])
    assert push(queue, 4, 5, 6) == [3, 4, 0]
    assert queue.ids.tolist() == [6, 8, 9, 4, 5]
    assert push(queue, 1) == [1]
    assert queue.ids.tolist() == [6, 1, 9, 4, 5]
    assert queue.rows.tolist() == [[i] * 3 for i in queue.ids.tolist()]


@pytest.mark.parametrize("before", [0, 1, 4])
def test_as_many_rows_as_there_are_places_fill_all_of_them(before):
    queue = new()
    queue.next.fill_(before)
    places = push(queue, 10, 11, 12, 13, 14)
    assert places == [(before + i) % 5 for i in range(5)]
    assert queue.ids[places].tolist() == [10, 11, 12, 13, 14]
    assert queue.next.item() == before


def test_more_rows_than_places_are_refused_and_change_nothing():
    queue = new()
    push(queue, 7, 8)
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    with pytest.raises(ValueError, match="6 keys in one step, but the queue has 5 rows"):
        push(queue, *range(6))
    assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())


def test_a_restored_queue_goes_on_where_it_was():
    queue, again = new(), new()
    push(queue, 7, 8, 9)
    again.load_state_dict(queue.state_dict())
    for each in (queue, again):
        push(each, 1, 2, 3)
    assert again.ids.tolist() == [3, 8, 9, 1, 2]
    assert torch.equal(again.rows, queue.rows)
    assert again.next.item() == 1


def test_no_gradient_goes_through_the_queue():
    queue = new()
    rows = torch.ones(2, 3, requires_grad=True)
    queue.push(2 * rows, torch.tensor([0, 1]))
    assert not queue.rows.requires_grad
    assert not list(queue.parameters())


def test_rows_of_all_processes_are_pushed(monkeypatch):
    monkeypatch.setattr(distributed, "gather", lambda rows: torch.cat([rows, rows + 10]))
    queue = new()
    assert push(queue, 1, 2) == [0, 1, 2, 3]
    assert queue.ids.tolist() == [1, 2, 11, 12, -1]
    assert queue.rows[:4, 0].tolist() == [1, 2, 11, 12]
    with pytest.raises(ValueError, match="6 keys"):
        push(queue, 1, 2, 3)
