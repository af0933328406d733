/* SPDX-License-Identifier: MIT
 * The engine `tflm`: TensorFlow Lite Micro's interpreter on the .tflite itself. It is compiled only where the build is
 * given TFLM's sources and library, and stands where engine/ and kernels/ stand otherwise.
 *
 * A .tflite is checked as a flatbuffer, and the numbers that TFLM takes from it as indices; what else TFLM trusts, it
 * trusts here as well. Where it gives up, the board says so and restarts (abort() below).
 */
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <new>

extern "C" {
#include "engine.h"
}
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/micro_profiler_interface.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

constexpr size_t kLeastArenaBytes = 8192; /* the interpreter's own objects; below, its constructor would give up */
constexpr int32_t kWhole = -1;
constexpr size_t kKindCount = 34;
using Resolver = tflite::MicroMutableOpResolver<kKindCount>;

struct Kind {
    tflite::BuiltinOperator code;
    const char *name; /* as on the wire */
    TfLiteStatus (*add)(Resolver &);
};

constexpr Kind kKinds[kKindCount] = {
    {tflite::BuiltinOperator_CONV_2D, "conv", [](Resolver &r) { return r.AddConv2D(); }},
    {tflite::BuiltinOperator_DEPTHWISE_CONV_2D, "depthwise", [](Resolver &r) { return r.AddDepthwiseConv2D(); }},
    {tflite::BuiltinOperator_FULLY_CONNECTED, "fully_connected", [](Resolver &r) { return r.AddFullyConnected(); }},
    {tflite::BuiltinOperator_AVERAGE_POOL_2D, "average_pool", [](Resolver &r) { return r.AddAveragePool2D(); }},
    {tflite::BuiltinOperator_MAX_POOL_2D, "max_pool", [](Resolver &r) { return r.AddMaxPool2D(); }},
    {tflite::BuiltinOperator_MEAN, "mean", [](Resolver &r) { return r.AddMean(); }},
    {tflite::BuiltinOperator_SUM, "sum", [](Resolver &r) { return r.AddSum(); }},
    {tflite::BuiltinOperator_REDUCE_MAX, "reduce_max", [](Resolver &r) { return r.AddReduceMax(); }},
    {tflite::BuiltinOperator_ADD, "add", [](Resolver &r) { return r.AddAdd(); }},
    {tflite::BuiltinOperator_SUB, "sub", [](Resolver &r) { return r.AddSub(); }},
    {tflite::BuiltinOperator_MUL, "mul", [](Resolver &r) { return r.AddMul(); }},
    {tflite::BuiltinOperator_MAXIMUM, "maximum", [](Resolver &r) { return r.AddMaximum(); }},
    {tflite::BuiltinOperator_MINIMUM, "minimum", [](Resolver &r) { return r.AddMinimum(); }},
    {tflite::BuiltinOperator_CONCATENATION, "concatenation", [](Resolver &r) { return r.AddConcatenation(); }},
    {tflite::BuiltinOperator_PAD, "pad", [](Resolver &r) { return r.AddPad(); }},
    {tflite::BuiltinOperator_PADV2, "pad", [](Resolver &r) { return r.AddPadV2(); }},
    {tflite::BuiltinOperator_TRANSPOSE, "transpose", [](Resolver &r) { return r.AddTranspose(); }},
    {tflite::BuiltinOperator_STRIDED_SLICE, "strided_slice", [](Resolver &r) { return r.AddStridedSlice(); }},
    {tflite::BuiltinOperator_SLICE, "slice", [](Resolver &r) { return r.AddSlice(); }},
    {tflite::BuiltinOperator_SPLIT, "split", [](Resolver &r) { return r.AddSplit(); }},
    {tflite::BuiltinOperator_SPLIT_V, "split", [](Resolver &r) { return r.AddSplitV(); }},
    {tflite::BuiltinOperator_SOFTMAX, "softmax", [](Resolver &r) { return r.AddSoftmax(); }},
    {tflite::BuiltinOperator_LOGISTIC, "logistic", [](Resolver &r) { return r.AddLogistic(); }},
    {tflite::BuiltinOperator_TANH, "tanh", [](Resolver &r) { return r.AddTanh(); }},
    {tflite::BuiltinOperator_RELU, "relu", [](Resolver &r) { return r.AddRelu(); }},
    {tflite::BuiltinOperator_RELU6, "relu6", [](Resolver &r) { return r.AddRelu6(); }},
    {tflite::BuiltinOperator_LEAKY_RELU, "leaky_relu", [](Resolver &r) { return r.AddLeakyRelu(); }},
    {tflite::BuiltinOperator_HARD_SWISH, "hard_swish", [](Resolver &r) { return r.AddHardSwish(); }},
    {tflite::BuiltinOperator_QUANTIZE, "requantize", [](Resolver &r) { return r.AddQuantize(); }},
    {tflite::BuiltinOperator_RESHAPE, "reshape", [](Resolver &r) { return r.AddReshape(); }},
    {tflite::BuiltinOperator_EXPAND_DIMS, "expand_dims", [](Resolver &r) { return r.AddExpandDims(); }},
    {tflite::BuiltinOperator_SQUEEZE, "squeeze", [](Resolver &r) { return r.AddSqueeze(); }},
    {tflite::BuiltinOperator_SHAPE, "shape", [](Resolver &r) { return r.AddShape(); }},
    {tflite::BuiltinOperator_PACK, "pack", [](Resolver &r) { return r.AddPack(); }},
};

/* TFLM's own profiler keeps 4096 events, 80 KiB; the probe needs none of them kept. */
class Probes : public tflite::MicroProfilerInterface {
public:
    void begin(engine_probe probe, void *context)
    {
        probe_ = probe;
        context_ = context;
        events_ = 0;
    }
    uint32_t events() const { return events_; }
    uint32_t BeginEvent(const char *) override { return events_++; }
    void EndEvent(uint32_t event) override
    {
        if (probe_ != nullptr && event < ENGINE_MAX_OPS)
            probe_(context_, event);
    }

private:
    engine_probe probe_ = nullptr;
    void *context_ = nullptr;
    uint32_t events_ = 0;
};

/* Nothing runs constructors before main(), and nothing is ever destroyed. */
template <typename T> struct Place {
    alignas(T) unsigned char bytes[sizeof(T)];
    T *object; /* zeroed at start: none */
    template <typename... Arguments> T &make(Arguments &&...arguments) /* never copies: TFLM keeps references */
    {
        object = new (bytes) T(static_cast<Arguments &&>(arguments)...);
        return *object;
    }
};

Place<Resolver> resolver;
Place<Probes> probes;
Place<tflite::MicroInterpreter> interpreter;

engine_fault fault(const char *reason, int32_t op = kWhole)
{
    return {reason, op};
}

const tflite::SubGraph *graph_of(const tflite::Model *model)
{
    return model->subgraphs()->Get(0);
}

const Kind *kind_of(const tflite::Model *model, uint32_t op)
{
    const tflite::OperatorCode *code = model->operator_codes()->Get(graph_of(model)->operators()->Get(op)->opcode_index());
    /* Files from before TFLite's 127th operator have only the old field. */
    const int32_t old = code->deprecated_builtin_code(), number = code->builtin_code();
    for (const Kind &kind : kKinds)
        if (kind.code == (number > old ? number : old))
            return &kind;
    return nullptr;
}

bool within(const flatbuffers::Vector<int32_t> *indices, uint32_t count, int32_t least)
{
    if (indices == nullptr)
        return false;
    for (int32_t index : *indices)
        if (index < least || index >= static_cast<int32_t>(count))
            return false;
    return true;
}

engine_fault check_operators(const tflite::Model *model)
{
    const tflite::SubGraph *graph = graph_of(model);
    const uint32_t tensors = graph->tensors()->size();
    for (uint32_t i = 0; i < graph->operators()->size(); i++) {
        const tflite::Operator *op = graph->operators()->Get(i);
        if (op->opcode_index() >= model->operator_codes()->size())
            return fault("its code is outside the model's", static_cast<int32_t>(i));
        if (kind_of(model, i) == nullptr)
            return fault("this firmware has no such kind", static_cast<int32_t>(i));
        if (!within(op->inputs(), tensors, -1) || !within(op->outputs(), tensors, 0)) /* -1: left out */
            return fault("a tensor is outside the model's", static_cast<int32_t>(i));
    }
    return fault(nullptr);
}

engine_fault check_model(const tflite::Model *model, const void *blob, size_t bytes)
{
    flatbuffers::Verifier verifier(static_cast<const uint8_t *>(blob), bytes);
    if (!tflite::VerifyModelBuffer(verifier))
        return fault("not a .tflite, or a damaged one");
    if (model->version() != TFLITE_SCHEMA_VERSION)
        return fault("a .tflite of another schema version");
    if (model->subgraphs() == nullptr || model->subgraphs()->size() != 1 || model->buffers() == nullptr ||
        model->operator_codes() == nullptr)
        return fault("a model with other than one subgraph, or without operators");
    const tflite::SubGraph *graph = graph_of(model);
    if (graph->tensors() == nullptr || graph->operators() == nullptr || graph->operators()->size() == 0 ||
        graph->operators()->size() > ENGINE_MAX_OPS)
        return fault("a model with other than 1 to 256 operators");
    const uint32_t tensors = graph->tensors()->size();
    if (!within(graph->inputs(), tensors, 0) || !within(graph->outputs(), tensors, 0) || graph->inputs()->size() != 1 ||
        graph->outputs()->size() != 1)
        return fault("a model with other than one input and one output");
    for (const tflite::Tensor *tensor : *graph->tensors())
        if (tensor->buffer() >= model->buffers()->size())
            return fault("a tensor's buffer is outside the model's");
    return check_operators(model);
}

bool add_kernels()
{
    if (resolver.object != nullptr)
        return true;
    resolver.make();
    probes.make();
    for (const Kind &kind : kKinds)
        if (kind.add(*resolver.object) != kTfLiteOk)
            return false;
    return true;
}

} // namespace

struct engine_fault engine_load(struct engine_model *model, const void *blob, size_t blob_bytes, void *arena,
                                size_t arena_available)
{
    const tflite::Model *tflite_model = tflite::GetModel(blob);
    const engine_fault found = check_model(tflite_model, blob, blob_bytes);
    if (found.reason != nullptr)
        return found;
    if (arena_available < kLeastArenaBytes || !add_kernels())
        return fault("the arena does not fit in RAM");
    tflite::MicroInterpreter &made =
        interpreter.make(tflite_model, *resolver.object, static_cast<uint8_t *>(arena), arena_available, nullptr,
                         static_cast<tflite::MicroProfilerInterface *>(probes.object));
    if (made.AllocateTensors() != kTfLiteOk)
        return fault("TensorFlow Lite Micro does not take it, or its arena does not fit in RAM");
    const TfLiteTensor *input = made.input(0), *output = made.output(0);
    if (input->type != kTfLiteInt8 || output->type != kTfLiteInt8)
        return fault("its input and output are not int8");
    *model = engine_model{};
    model->blob = blob;
    model->arena = static_cast<uint8_t *>(arena);
    model->op_count = graph_of(tflite_model)->operators()->size();
    model->arena_bytes = static_cast<uint32_t>(made.arena_used_bytes());
    model->input = input->data.int8;
    model->input_bytes = static_cast<uint32_t>(input->bytes);
    model->input_scale = input->params.scale;
    model->input_zero_point = input->params.zero_point;
    model->output = output->data.int8;
    model->output_bytes = static_cast<uint32_t>(output->bytes);
    model->output_scale = output->params.scale;
    model->output_zero_point = output->params.zero_point;
    return fault(nullptr);
}

/* TFLM sets its variables to their zero points. */
void engine_reset(const struct engine_model *)
{
    (void)interpreter.object->Reset();
}

/* A library built with BUILD_TYPE=release calls no profiler: a probed run then fails instead of leaving old counts. */
bool engine_run(const struct engine_model *model, engine_probe probe, void *context)
{
    probes.object->begin(probe, context);
    const bool good = interpreter.object->Invoke() == kTfLiteOk;
    return good && (probe == nullptr || probes.object->events() == model->op_count);
}

const char *engine_op_name(const struct engine_model *model, uint32_t op)
{
    return kind_of(tflite::GetModel(model->blob), op)->name; /* engine_load() has seen that there is one */
}

const char *engine_name(void)
{
    return "tflm";
}

/* What TFLM and the C++ runtime want of a platform: its messages go nowhere, since the wire is not the engine's. */
extern "C" {

void DebugLog(const char *, va_list)
{
}

int DebugVsnprintf(char *buffer, size_t bytes, const char *, va_list)
{
    if (bytes != 0)
        buffer[0] = '\0';
    return 0;
}

[[noreturn]] void abort(void)
{
    __builtin_trap(); /* the fault handler says where, and restarts the board */
}

[[noreturn]] void __assert_func(const char *, int, const char *, const char *) /* newlib's assert() */
{
    abort();
}

[[noreturn]] void __cxa_pure_virtual(void)
{
    abort();
}

} // extern "C"

/* Where a check of TFLM's fails. Its own, an inline function of its headers, loops for ever. */
[[noreturn]] void AbortImpl()
{
    abort();
}

void operator delete(void *) noexcept
{
}

void operator delete(void *, size_t) noexcept
{
}
