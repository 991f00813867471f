"""Operators of ONNX Runtime's own domain, in the dtype of their input."""

from __future__ import annotations

from typing import Any

from harness.oracle.microsoft import attention, dense, grouped, quantised

DOMAIN = "com.microsoft"
OPERATORS: dict[str, Any] = {
    "Attention": attention.attention,
    "BiasGelu": dense.bias_gelu,
    "DynamicQuantizeLSTM": quantised.lstm,
    "DynamicQuantizeMatMul": quantised.dynamic_matmul,
    "EmbedLayerNormalization": dense.embed_layer_normalization,
    "FastGelu": dense.fast_gelu,
    "FusedConv": dense.fused_conv,
    "FusedGemm": dense.fused_gemm,
    "FusedMatMul": dense.fused_matmul,
    "Gelu": dense.gelu,
    "GroupQueryAttention": grouped.group_query_attention,
    "MatMulIntegerToFloat": quantised.matmul,
    "MatMulNBits": quantised.matmul_n_bits,
    "MultiHeadAttention": attention.multi_head_attention,
    "QAttention": attention.quantised_attention,
    "QuickGelu": dense.quick_gelu,
    "RotaryEmbedding": grouped.rotary_embedding,
    "SkipLayerNormalization": dense.skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": dense.skip_simplified_layer_normalization,
}
"""Formulas: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md."""
MAIN_OPERATORS: dict[str, Any] = {
    "SimplifiedLayerNormalization": dense.simplified_layer_normalization,
}
"""What ONNX Runtime adds to ONNX's own domain."""
