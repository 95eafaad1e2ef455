import os
import subprocess
import sys

CODE = """
import os, torch, peculiar.core
torch.set_num_threads(2)
work = lambda: torch.fft.rfftn(torch.ones(64, 64, 64)).real.sum() + torch.ones(400, 400).mm(torch.ones(400, 400)).sum()
work()
child = os.fork()
if child == 0:
    work()
    os._exit(0)
print(os.waitpid(child, 0)[1], torch.get_num_threads())
"""


def test_the_child_of_a_fork_computes():
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == ["0", "2"]
