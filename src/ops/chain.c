/* Trees of elementwise nodes as programs: the table of operators, and the builder. */
#include "ops/chain.h"
#include "ops/fast.h"

#include <string.h>

/* ---- the operators ---- */
typedef struct chain_op {
    const char *type, *domain;
    ed_chain_code code;
    uint32_t operands; /* inputs 0, 1, ... that are operands; 0: all, two at a time */
    /* Fill in p of the step, or another code, for node k; false: this node is none of these.
     * NULL: nothing to do. */
    bool (*read)(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k);
} chain_op;

/* The constant behind input i of node k; NULL when it is none, or omitted. */
static const ed_tensor *constant_in(const ed_chain_nodes *of, uint32_t k, uint32_t i)
{
    ed_id id = ed_node_in(of->nodes[k], i);
    return id == ED_NONE ? NULL : of->constants[id];
}

static bool is_omitted_or_constant(const ed_chain_nodes *of, uint32_t k, uint32_t i)
{
    return ed_node_in(of->nodes[k], i) == ED_NONE || constant_in(of, k, i);
}

static bool read_alpha_beta(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    const ed_activation_params *a = of->params[k];
    step->p[0] = a->alpha;
    step->p[1] = a->beta;
    return true;
}

static bool read_clip(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    if (!is_omitted_or_constant(of, k, 1) || !is_omitted_or_constant(of, k, 2))
        return false;
    ed_clip_bounds(&step->p[0], &step->p[1], of->params[k], constant_in(of, k, 1),
                   constant_in(of, k, 2));
    return true;
}

static bool read_gelu(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    const ed_gelu_params *a = of->params[k];
    step->code = a->approximate == ED_GELU_TANH ? ED_CHAIN_GELU_TANH : ED_CHAIN_GELU;
    return true;
}

static bool read_pow(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    static const struct {
        double exponent;
        ed_chain_code code;
    } powers[] = {
        { 2, ED_CHAIN_SQUARE },
        { 3, ED_CHAIN_CUBE },
        { 0.5, ED_CHAIN_ROOT_POWER },
        { -1, ED_CHAIN_RECIPROCAL },
    };
    const ed_tensor *exponent = constant_in(of, k, 1);
    if (!exponent || exponent->numel != 1)
        return false;
    for (size_t i = 0; i < ED_LENGTH(powers); i++)
        if (ed_tensor_get_f64(exponent, 0) == powers[i].exponent) {
            step->code = powers[i].code;
            step->from[1] = ED_CHAIN_NOTHING;
        }
    return true;
}

/* One scale, input i, constant or not, and zero_point 0. */
static bool read_levels(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k, uint32_t i)
{
    const ed_fake_quant_params *a = of->params[k];
    const ed_tensor *zero = constant_in(of, k, i + 1);
    int64_t scales = 0;
    step->p[0] = (float)a->qmin;
    step->p[1] = (float)a->qmax;
    return ed_shape_numel(&scales, &of->types[of->nodes[k]->in[i]].shape) == ED_OK && scales == 1 &&
           is_omitted_or_constant(of, k, i + 1) &&
           (!zero || (zero->numel == 1 && ed_tensor_get_i64(zero, 0) == 0));
}

static bool read_quantize(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    return read_levels(step, of, k, 1);
}

/* ---- gradients ---- */
static bool read_quantize_grad(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    return read_levels(step, of, k, 2);
}

static bool read_slope(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    const ed_activation_grad_params *a = of->params[k];
    step->p[0] = a->f.alpha;
    return true;
}

static bool read_clip_grad(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    const ed_activation_grad_params *a = of->params[k];
    if (!is_omitted_or_constant(of, k, 2) || !is_omitted_or_constant(of, k, 3))
        return false;
    ed_clip_grad_bounds(step->p, &a->f, constant_in(of, k, 2), constant_in(of, k, 3));
    return true;
}

static bool read_gelu_grad(ed_chain_step *step, const ed_chain_nodes *of, uint32_t k)
{
    const ed_activation_grad_params *a = of->params[k];
    if (a->approximate == ED_GELU_TANH)
        step->code = ED_CHAIN_GELU_TANH_GRAD;
    return true;
}

static const chain_op operators[] = {
    { "Add", "", ED_CHAIN_ADD, 2, NULL },
    { "Sub", "", ED_CHAIN_SUB, 2, NULL },
    { "Mul", "", ED_CHAIN_MUL, 2, NULL },
    { "Div", "", ED_CHAIN_DIV, 2, NULL },
    { "Min", "", ED_CHAIN_MIN, 0, NULL },
    { "Max", "", ED_CHAIN_MAX, 0, NULL },
    { "Sum", "", ED_CHAIN_ADD, 0, NULL },
    { "Neg", "", ED_CHAIN_NEG, 1, NULL },
    { "Abs", "", ED_CHAIN_ABS, 1, NULL },
    { "Relu", "", ED_CHAIN_RELU, 1, NULL },
    { "LeakyRelu", "", ED_CHAIN_LEAKY_RELU, 1, read_alpha_beta },
    { "Clip", "", ED_CHAIN_CLIP, 1, read_clip },
    { "Sigmoid", "", ED_CHAIN_SIGMOID, 1, NULL },
    { "Tanh", "", ED_CHAIN_TANH, 1, NULL },
    { "HardSigmoid", "", ED_CHAIN_HARD_SIGMOID, 1, read_alpha_beta },
    { "HardSwish", "", ED_CHAIN_HARD_SWISH, 1, NULL },
    { "Erf", "", ED_CHAIN_ERF, 1, NULL },
    { "Gelu", "", ED_CHAIN_GELU, 1, read_gelu },
    { "Exp", "", ED_CHAIN_EXP, 1, NULL },
    { "Log", "", ED_CHAIN_LOG, 1, NULL },
    { "Sqrt", "", ED_CHAIN_SQRT, 1, NULL },
    { "Reciprocal", "", ED_CHAIN_RECIPROCAL, 1, NULL },
    { "Pow", "", ED_CHAIN_POW, 2, read_pow },
    { "FakeQuantize", "ed", ED_CHAIN_QUANTIZE, 2, read_quantize },
    { "ReluGrad", "ed", ED_CHAIN_RELU_GRAD, 2, NULL },
    { "LeakyReluGrad", "ed", ED_CHAIN_LEAKY_RELU_GRAD, 2, read_slope },
    { "ClipGrad", "ed", ED_CHAIN_CLIP_GRAD, 2, read_clip_grad },
    { "SigmoidGrad", "ed", ED_CHAIN_SIGMOID_GRAD, 2, NULL },
    { "HardSigmoidGrad", "ed", ED_CHAIN_HARD_SIGMOID_GRAD, 2, read_slope },
    { "HardSwishGrad", "ed", ED_CHAIN_HARD_SWISH_GRAD, 2, NULL },
    { "TanhGrad", "ed", ED_CHAIN_TANH_GRAD, 2, NULL },
    { "MishGrad", "ed", ED_CHAIN_MISH_GRAD, 2, NULL },
    { "EluGrad", "ed", ED_CHAIN_ELU_GRAD, 2, read_slope },
    { "GeluGrad", "ed", ED_CHAIN_GELU_GRAD, 2, read_gelu_grad },
    { "ErfGrad", "ed", ED_CHAIN_ERF_GRAD, 2, NULL },
    { "AbsGrad", "ed", ED_CHAIN_ABS_GRAD, 2, NULL },
    { "FakeQuantizeGrad", "ed", ED_CHAIN_QUANTIZE_GRAD, 3, read_quantize_grad },
};

static const chain_op *find_operator(const ed_node *node)
{
    for (size_t i = 0; i < ED_LENGTH(operators); i++)
        if (strcmp(node->op_type, operators[i].type) == 0 &&
            strcmp(node->domain, operators[i].domain) == 0)
            return &operators[i];
    return NULL;
}

ed_chain_code ed_chain_code_of(const ed_node *node)
{
    const chain_op *op = find_operator(node);
    return op ? op->code : ED_CHAIN_CODES;
}

/* ---- the builder ---- */
enum { RESULT = 64 }; /* + number of a step: an operand before it has a slot */

typedef struct builder {
    const ed_chain_nodes *of;
    ed_chain_bound *out;
    uint8_t result[ED_CHAIN_MAX_NODES]; /* of each node, as an operand */
} builder;

static const ed_type *root_type(const ed_chain_nodes *of)
{
    return &of->types[of->nodes[of->count - 1]->out[0]];
}

/* The dimensions in which it does not repeat lie side by side: one number, [C, 1, 1], a row. */
static bool broadcasts(const ed_shape *y, const ed_shape *x)
{
    int lead = y->rank - x->rank, first = y->rank, last = -1;
    if (lead < 0)
        return false;
    for (int d = lead; d < y->rank; d++) {
        if (x->dim[d - lead] == 1)
            continue;
        first = d < first ? d : first;
        last = d;
    }
    for (int d = first; d <= last; d++)
        if ((d < lead ? 1 : x->dim[d - lead]) != y->dim[d])
            return false;
    return true;
}

static bool add_number(uint8_t *ref, builder *b, const ed_tensor *t)
{
    ed_chain_program *program = &b->out->program;
    if (program->numbers == ED_CHAIN_MAX_NUMBERS)
        return false;
    *ref = (uint8_t)(ED_CHAIN_NUMBER + program->numbers);
    program->number[program->numbers++] = (float)ed_tensor_get_f64(t, 0);
    return true;
}

static bool add_input(uint8_t *ref, builder *b, ed_id value)
{
    ed_chain_program *program = &b->out->program;
    const ed_type *type = &b->of->types[value];
    int i = 0;
    if (type->dtype != ED_F32 || !broadcasts(&root_type(b->of)->shape, &type->shape))
        return false;
    while (i < program->inputs && b->out->input[i] != value)
        i++;
    if (i == ED_CHAIN_MAX_INPUTS)
        return false;
    b->out->input[i] = value;
    program->inputs += i == program->inputs;
    *ref = (uint8_t)(ED_CHAIN_INPUT + i);
    return true;
}

static bool operand(uint8_t *ref, builder *b, uint32_t node, ed_id value)
{
    if (value == ED_NONE)
        return false;
    for (uint32_t k = 0; k < node; k++)
        if (b->of->nodes[k]->out[0] == value) {
            *ref = b->result[k];
            return true;
        }
    const ed_tensor *t = b->of->constants[value];
    return t && t->numel == 1 ? add_number(ref, b, t) : add_input(ref, b, value);
}

static bool add_step(builder *b, uint32_t node, const ed_chain_step *step)
{
    ed_chain_program *program = &b->out->program;
    if (program->steps == ED_CHAIN_MAX_STEPS)
        return false;
    b->result[node] = (uint8_t)(RESULT + program->steps);
    program->step[program->steps++] = *step;
    return true;
}

static bool add_node(builder *b, uint32_t k)
{
    const ed_node *node = b->of->nodes[k];
    const chain_op *op = find_operator(node);
    if (!op || node->n_out != 1 || node->n_in < (op->operands ? op->operands : 2))
        return false;
    const ed_type *type = &b->of->types[node->out[0]];
    if (type->dtype != ED_F32 || !ed_shape_equal(&type->shape, &root_type(b->of)->shape))
        return false;
    ed_chain_step step = { .code = (uint8_t)op->code };
    uint32_t first = op->operands ? op->operands : 2;
    for (uint32_t i = 0; i < first; i++)
        if (!operand(&step.from[i], b, k, node->in[i]))
            return false;
    if ((op->read && !op->read(&step, b->of, k)) || !add_step(b, k, &step))
        return false;
    for (uint32_t i = first; !op->operands && i < node->n_in; i++) {
        step.from[0] = b->result[k];
        if (!operand(&step.from[1], b, k, node->in[i]) || !add_step(b, k, &step))
            return false;
    }
    return true;
}

/* The last step that reads the result of step s, s itself when none does; *far: one that does not
 * follow it at once. */
static int last_reader(const ed_chain_program *program, int s, bool *far)
{
    int last = s;
    for (int r = s + 1; r < program->steps; r++)
        for (size_t i = 0; i < ED_LENGTH(program->step[r].from); i++)
            if (program->step[r].from[i] == RESULT + s)
                last = r;
    *far = last > s + 1;
    return last;
}

static void replace(ed_chain_step *step, int from, int to)
{
    for (size_t i = 0; i < ED_LENGTH(step->from); i++)
        if (step->from[i] == from)
            step->from[i] = (uint8_t)to;
}

/* Results that are wanted by the next step alone stay where they are; others get a slot until their
 * last reader, which may put its own result there. */
static bool assign_slots(ed_chain_program *program)
{
    int busy_until[ED_CHAIN_MAX_SLOTS] = { 0 };
    for (int s = 0; s < program->steps; s++) {
        bool far;
        int last = last_reader(program, s, &far), slot = 0;
        if (last > s)
            replace(&program->step[s + 1], RESULT + s, ED_CHAIN_LAST);
        if (!far)
            continue;
        while (slot < ED_CHAIN_MAX_SLOTS && busy_until[slot] > s)
            slot++;
        if (slot == ED_CHAIN_MAX_SLOTS)
            return false;
        busy_until[slot] = last;
        program->slots = slot >= program->slots ? slot + 1 : program->slots;
        program->step[s].keep = (uint8_t)(ED_CHAIN_SLOT + slot);
        for (int r = s + 2; r <= last; r++)
            replace(&program->step[r], RESULT + s, ED_CHAIN_SLOT + slot);
    }
    return true;
}

bool ed_chain_build(ed_chain_bound *out, const ed_chain_nodes *of)
{
    builder b = { .of = of, .out = out };
    int64_t numel = 0;
    memset(out, 0, sizeof *out);
    if (of->count > ED_CHAIN_MAX_NODES || ed_shape_numel(&numel, &root_type(of)->shape) != ED_OK ||
        numel == 0)
        return false;
    for (uint32_t k = 0; k < of->count; k++)
        if (!add_node(&b, k))
            return false;
    return assign_slots(&out->program);
}

/* ---- for plan() ---- */
uint32_t ed_chain_take(ed_chain_bound *out, const ed_kernel_plan *p)
{
    ed_chain_nodes of = { p->types, p->constants, p->nodes, p->params, p->n_nodes };
    uint32_t least = ed_fuse_varies(p, 0) ? 1 : 2; /* alone as it is computed among others */
    if (of.count > ED_CHAIN_MAX_NODES)
        of.count = ED_CHAIN_MAX_NODES;
    for (; of.count >= least; of.count--)
        if (ed_plan_closed(p, of.count) && ed_chain_build(out, &of))
            return of.count;
    return 0;
}

bool ed_chain_is_main(const ed_chain_bound *chain, const ed_kernel_plan *p, uint32_t taken, int k)
{
    ed_id value = chain->input[k];
    return !p->constants[value] &&
           ed_shape_equal(&p->types[value].shape, &p->types[ed_plan_output(p, taken)].shape);
}

void ed_chain_overwrite(const ed_chain_bound *chain, ed_kernel_plan *p)
{
    for (int k = 0; k < chain->program.inputs && p->inplace < 0; k++) {
        ed_id x = chain->input[k];
        bool alone = ed_chain_is_main(chain, p, p->taken, k) && p->in_layout[k] == p->out_layout &&
                     ed_plan_dies(p, x, p->taken);
        for (int i = 0; i < chain->program.inputs && alone; i++)
            alone = i == k || ed_plan_memory(p, chain->input[i]) != ed_plan_memory(p, x);
        if (alone)
            p->inplace = k;
    }
}
