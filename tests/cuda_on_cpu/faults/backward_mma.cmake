# Faults of the tensor-core backward, in half. CMakeLists.txt says what the fields mean. They are run on one multiprocessor: two
# blocks at most, which go from job to job.

set(fused backward_mma_f16.cu)

# ---- Barriers

planted_fault(backward_mma_no_barrier_before_hidden2_is_overwritten
  FILE backward_mma.cuh COMPILE ${fused}
  OLD [=[      __syncthreads();  // hidden2 is overwritten
]=]
  CASE 1,1,backward_half,zeros,1,1,4,12,90 CAUGHT output)

planted_fault(backward_mma_no_barrier_before_rows_are_moved
  FILE backward_mma.cuh COMPILE ${fused}
  OLD [=[    __syncthreads();  // all have done with the step and its rows
]=]
  CASE 3,1,backward_half,zeros,1,1,9,12,90 CAUGHT error)

# ---- Halos, rings, edges

planted_fault(backward_mma_rows_of_the_next_segment_counted_twice
  FILE backward_mma.cuh COMPILE ${fused}
  OLD [=[step.own1 = {max(0, y0 - top), min(rows, y1 - top)};]=]
  NEW [=[step.own1 = step.grad1;]=]
  CASE 1,1,backward_half,zeros,1,1,32,5,90 CAUGHT output)

planted_fault(backward_mma_halo_of_hidden1_one_column_short
  FILE backward_mma_config.cpp
  OLD [=[config.halo1 = 2 * reach2 + config.input_halo;]=]
  NEW [=[config.halo1 = 2 * reach2 + config.input_halo - 1;]=]
  CASE 3,1,backward_half,zeros,1,1,3,35,90 CAUGHT error)

planted_fault(backward_mma_copies_of_a_column_left_out
  FILE backward_mma_layers.cuh COMPILE ${fused}
  OLD [=[column[m] == (dx < 0 ? 0 : b.width() - 1)]=]
  NEW [=[column[m] == (dx < 0 ? -1 : b.width() - 1)]=]
  CASE 3,1,backward_half,replicate,1,1,3,5,90 CAUGHT output)

# ---- Products and sums

planted_fault(backward_mma_channels_of_a_not_transposed
  FILE backward_mma_weight_sums.cuh COMPILE ${fused}
  OLD [=[(lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);]=]
  NEW [=[(lane % 8 + lane / 8 % 2 * 8) * pitch + lane / 16 * 8);]=]
  CASE 1,1,backward_half,zeros,1,1,3,5,90 CAUGHT output)

planted_fault(backward_mma_taps_of_odd_columns_from_the_even_copy
  FILE backward_mma_block.cuh COMPILE ${fused}
  OLD [=[table[i] = place(tap / kKernel1, tap % kKernel1, 0);]=]
  NEW [=[table[i] = place(tap / kKernel1, tap % kKernel1 / 2 * 2, 0);]=]
  CASE 1,1,backward_half,zeros,1,1,3,5,90 CAUGHT output)

planted_fault(backward_mma_gradient_outside_the_image_not_masked
  FILE backward_mma_layers.cuh COMPILE ${fused}
  OLD [=[              b.has_column(step.job.x0 - b.p.config.input_halo + place.column)};]=]
  NEW [=[              true};]=]
  CASE 3,1,backward_half,replicate,1,1,3,5,90 CAUGHT output)

planted_fault(backward_mma_shares_of_the_pixels_overlap
  FILE backward_mma_weight_sums.cuh COMPILE ${fused}
  OLD [=[for_each_tile(own, split, kSplits, ]=]
  NEW [=[for_each_tile(own, 0, kSplits, ]=]
  CASE 1,1,backward_half,zeros,1,1,4,12,90 CAUGHT output)
