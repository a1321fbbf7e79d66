"""ONNX Runtime on the CPU: the reference runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxruntime

from ..arrays import Float32
from ..artifact import Artifact
from ..closing import ClosedByWith
from .answers import checked, failure
from .stopping import EndedBySignal

if TYPE_CHECKING:
    from onnx import ModelProto

_FLOAT16 = 10  # onnx.TensorProto.FLOAT16
_TRANSPOSES = frozenset(("Transpose", "Attention", "RotaryEmbedding"))  # also what is made of them


class OnnxRuntime(ClosedByWith):
    """See ``Runtime``.

    Args:
        threads: 0 leaves it to ONNX Runtime.
        spinning: threads keep their cores while they wait; faster for a network that has the machine to
            itself, slower where decoders need the cores.

    Raises:
        ArtifactError: ONNX Runtime refuses the graph; of ``infer``, it cannot compute it.
        ComputationStoppedError: of ``infer``, a signal ended it.
    """

    name = "onnxruntime"

    def __init__(self, artifact: Artifact, threads: int, spinning: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Its exceptions say what is wrong; its log would print names as they stand in the file.
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        # Its pass WeightBiasQuantization breaks FP16 QDQ graphs: the scale of the int32 bias underflows.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                artifact.content,
                options,
                providers=["CPUExecutionProvider"],
                # Bundled ones never need it.
                disabled_optimizers=[] if artifact.is_bundled else passes_to_leave_out(artifact.content),
            )
        except Exception as error:  # its exceptions have no narrower base class
            raise failure(artifact, "ONNX Runtime refuses it", error) from None
        self._artifact = artifact
        self._run = onnxruntime.RunOptions()
        self._computing = EndedBySignal(self._terminate)

    def infer(self, log_mels: Float32) -> Float32:
        try:
            with self._computing:
                outputs = self._session.run(
                    list(self._artifact.spec.outputs), {"images": log_mels}, self._run
                )
        except Exception as error:  # as above
            self._computing.check()
            raise failure(self._artifact, "ONNX Runtime cannot compute it", error) from None
        return checked(outputs, log_mels, self._artifact)

    def close(self) -> None:
        self._session = None

    def _terminate(self) -> None:
        """Ends the computation at its next node; called in another thread."""
        self._run.terminate = True
        self._run = onnxruntime.RunOptions()  # for the next one


def open_runtime(artifact: Artifact, threads: int) -> OnnxRuntime:
    """See ``merkit.engine.runtimes.open_runtime``."""
    return OnnxRuntime(artifact, threads)


def passes_to_leave_out(content: bytes) -> list[str]:
    """Passes of ONNX Runtime that crash on a graph.

    Its NchwcTransformer (of 1.32, at least) crashes the process on transformers in FP16. Convolutions take
    two to three times as long without it, so that graphs in FP32 and those without a Transpose keep it.
    """
    if not any(kind.encode() in content for kind in _TRANSPOSES):
        return []
    import onnx  # takes longer than labelling a song

    model = onnx.load_from_string(content)
    moves = any(node.op_type in _TRANSPOSES for node in model.graph.node)
    return ["NchwcTransformer"] if moves and _computes_in_fp16(model) else []


def _computes_in_fp16(model: ModelProto) -> bool:
    """Weights in FP16 that are cast as the graph is loaded are only stored so."""
    half = {tensor.name for tensor in model.graph.initializer if tensor.data_type == _FLOAT16}
    for node in model.graph.node:
        kinds = {each.i for each in node.attribute if each.name in ("to", "dtype")}
        kinds |= {each.t.data_type for each in node.attribute}
        if node.op_type == "Constant":
            half.update(node.output if _FLOAT16 in kinds else ())
        elif _FLOAT16 in kinds or (node.op_type != "Cast" and half.intersection(node.input)):
            return True
    return False
