# Faults of the tensor-core kernel. CMakeLists.txt says what the fields mean.

planted_fault(mma_no_barrier_after_input
  FILE forward_mma.cu
  OLD [=[          find_pairs<kChannels>(b, next1);
          __syncthreads();
]=]
  NEW [=[          find_pairs<kChannels>(b, next1);
]=]
  CASE 5,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_no_barrier_after_hidden1
  FILE forward_mma.cu
  OLD [=[          pad_hidden1(b, job, to, kHalo1);
          __syncthreads();
]=]
  NEW [=[          pad_hidden1(b, job, to, kHalo1);
]=]
  CASE 5,1,half,zeros,1,1,6,70,90 CAUGHT output)

planted_fault(mma_no_barrier_before_output
  FILE forward_mma.cu
  OLD [=[    __syncthreads();
    add_output]=]
  NEW [=[    add_output]=]
  CASE 1,1,bfloat16,zeros,1,1,6,70,90 CAUGHT output)

planted_fault(mma_no_barrier_before_padding
  FILE forward_mma.cu
  OLD [=[(left == 0 && right == columns)) return;
  __syncthreads();
]=]
  NEW [=[(left == 0 && right == columns)) return;
]=]
  CASE 3,1,half,replicate,1,1,6,40,90 CAUGHT output)

planted_fault(mma_collective_in_a_branch
  FILE forward_mma.cu
  OLD [=[    for (int kx = 0; kx < kKernel2; ++kx) {
#pragma unroll]=]
  NEW [=[    for (int kx = 0; kx < kKernel2 - (b.lane == 7); ++kx) {
#pragma unroll]=]
  CASE 3,1,half,zeros,1,1,6,9,90 CAUGHT error)

planted_fault(mma_halo_off_by_one
  FILE forward_mma.cu
  OLD [=[kHalo0 = kHalo1 + kKernel1 / 2;]=]
  NEW [=[kHalo0 = kHalo1 + kKernel1 / 2 + 1;]=]
  CASE 5,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_weight_fragment_rows
  FILE forward_mma.cu
  OLD [=[pair_of<T>(value(step, k + 8, column), value(step, k + 9, column))]=]
  NEW [=[pair_of<T>(value(step, k + 4, column), value(step, k + 5, column))]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_weight_pair_swapped
  FILE forward_mma.cu
  OLD [=[return static_cast<uint32_t>(low.bits) | static_cast<uint32_t>(high.bits) << 16;]=]
  NEW [=[return static_cast<uint32_t>(high.bits) | static_cast<uint32_t>(low.bits) << 16;]=]
  CASE 3,1,bfloat16,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_operand_registers_swapped
  FILE forward_mma.cu
  OLD [=[const float (&s)[4] = sum[m][2 * q + half];]=]
  NEW [=[const float (&s)[4] = sum[m][2 * q + 1 - half];]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_odd_pixels_one_column_off
  FILE forward_mma.cu
  OLD [=[(g % 2 ? stride - 1 : 0)]=]
  NEW [=[(g % 2 ? stride + 1 : 0)]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_swizzle_not_undone
  FILE forward_mma.cu
  OLD [=[hidden + hidden1_chunk(pixel + kx + 16 * m, 2 * q + chunk))]=]
  NEW [=[hidden + (pixel + kx + 16 * m) * kWidth1 + (2 * q + chunk) * 8)]=]
  CASE 3,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_swizzle_leaves_the_pixel
  FILE forward_mma.cu
  OLD [=[(chunk ^ (pixel & 7)) * 8; }]=]
  NEW [=[(chunk ^ (pixel & 15)) * 8; }]=]
  CASE 3,1,half,zeros,1,1,6,40,90 CAUGHT output)

planted_fault(mma_ldmatrix_of_misaligned_rows
  FILE forward_mma.cu
  OLD [=[hidden1_chunk(pixel + kx + 16 * m, 2 * q + chunk))]=]
  NEW [=[hidden1_chunk(pixel + kx + 16 * m, 2 * q + chunk) + 4)]=]
  CASE 3,1,half,zeros,1,1,6,9,90 CAUGHT error)

planted_fault(mma_ring_of_hidden1_one_row_short
  FILE forward_mma.cu
  OLD [=[at.hidden1) + next1 % kKernel2 *]=]
  NEW [=[at.hidden1) + next1 % (kKernel2 - 1) *]=]
  CASE 5,1,half,zeros,1,1,9,9,90 CAUGHT output)

planted_fault(mma_ring_of_input_one_row_short
  FILE forward_mma.h COMPILE config.cpp forward_mma.cu
  OLD [=[kInputSlots = 16;]=]
  NEW [=[kInputSlots = 8;]=]
  CASE 1,1,half,zeros,1,1,20,9,90 CAUGHT output)

planted_fault(mma_row_below_the_image_is_read
  FILE forward_mma.cu
  OLD [=[const bool outside = row < 0 || row >= height;]=]
  NEW [=[const bool outside = row < 0 || row > height;]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_right_side_padded_from_outside
  FILE forward_mma.cu
  OLD [=[edge = outside < left ? left : right - 1;]=]
  NEW [=[edge = outside < left ? left : right;]=]
  CASE 3,1,half,replicate,1,1,6,9,90 CAUGHT output)

planted_fault(mma_taps_read_past_the_last_row
  FILE forward_mma.cu
  OLD [=[sum[ky] += tap[ky * kKernel3 * stride];]=]
  NEW [=[sum[ky] += tap[(ky + 1) * kKernel3 * stride];]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_last_tap_stored_past_the_array
  FILE forward_mma.cu
  OLD [=[if (tap < kTaps3) taps]=]
  NEW [=[if (tap <= kTaps3) taps]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT sanitizer SANITIZED)
